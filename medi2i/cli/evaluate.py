"""`medi2i evaluate`: did anatomy survive, and is training on the images worth it?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from medi2i.cli.options import DeviceOption, SetOption
from medi2i.errors import UsageError

if TYPE_CHECKING:
    from medi2i.proof import EvaluateConfig

_LABEL, _TOOL = "label=structure", "name=DIR"


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of `medi2i adapt`.")],
    target_labels: Annotated[
        Path | None,
        typer.Option(help="Labelled films to test on; the run must not have seen them or their patients."),
    ] = None,
    protocol: Annotated[
        Literal["train-on-translated", "translate-at-test", "both"] | None,
        typer.Option(help="Train segmenters on translated images, or show them translated films."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each row; 3 for a verdict.")] = None,
    few_shot: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Numbers of labelled target patients, e.g. 0,5,20.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar=_LABEL,
            help="Which structure a label of the films is; a=b+c for several, a= leaves it out.",
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar=_TOOL, help="Masks that another tool found on the films; may be repeated."),
    ] = None,
    transductive: Annotated[
        bool, typer.Option("--transductive", help="Allow test films that the run saw without their labels.")
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Another evaluated run: segmenters and scores that both need are taken over."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that share the trainings; one a core (four at most) or GPU without it."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="This machine's share; at the end once more without it."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Preset of configs/evaluate or a YAML file; chosen by device without it."),
    ] = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Judge a finished run: controls, certificate, segmenters tested on labelled films, and a verdict."""
    from medi2i import proof
    from medi2i.cli.output import print_proof
    from medi2i.rendering import parse_shard
    from medi2i.translation import parse_assignments

    options: dict[str, Any] = {
        "--protocol": protocol,
        "--seeds": seeds,
        "--few-shot": few_shot,
        "--map": map_,
        "--add": add,
        "--transductive": transductive or None,
        "--shard": shard,
    }
    if target_labels is None:
        _refuse_without_films([name for name, value in options.items() if value is not None])
    settings = _with_options(
        proof.choose_config(config, set_ or (), device),
        {
            "protocol": protocol,
            "seeds": None if seeds is None else tuple(range(seeds)),
            "few_shot": None if few_shot is None else _counts(few_shot),
            "structures": _parts(map_ or ()) or None,
            "transductive": transductive or None,
        },
    )
    tools = {name: Path(place) for name, place in parse_assignments(add or (), "--add", _TOOL).items()}
    if shard is None or target_labels is None:
        result = proof.evaluate(
            run,
            settings,
            target_labels=target_labels,
            predictions=tools,
            like=like,
            device=device,
            jobs=jobs or proof.default_jobs(device),
        )
        print_proof(result)
        return
    told = proof.evaluate_share(
        run,
        settings,
        shard=parse_shard(shard),
        target_labels=target_labels,
        predictions=tools,
        like=like,
        device=device,
    )
    typer.echo(told)


def _with_options(settings: EvaluateConfig, options: dict[str, Any]) -> EvaluateConfig:
    """Options stand above the configuration; those not given leave it as it is."""
    from medi2i.config import validate_config

    given = {key: value for key, value in options.items() if value is not None}
    values = settings.model_dump()
    values["downstream"] |= given
    return validate_config(values, type(settings), "evaluate")


def _counts(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise UsageError(
            f"--few-shot {text}",
            found="something that is no number",
            expected="numbers of patients between commas, e.g. 0,5,20",
            remedy="mend it",
        )
    return tuple(int(part) for part in parts)


def _refuse_without_films(names: list[str]) -> None:
    if names:
        raise UsageError(
            ", ".join(names),
            found="no --target-labels",
            expected="labelled films, which this is about",
            remedy="add --target-labels DIR, or drop it",
        )


def _parts(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`label=a+b` as label and structures; `label=` names none, which leaves the label out."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        label, equals, structures = (part.strip() for part in text.partition("="))
        if not (label and equals) or label in found:
            raise UsageError(
                f"--map {text}",
                found="a second value of the same label" if label in found else "no LABEL=STRUCTURE",
                expected="each label once, e.g. lungs=left_lung+right_lung, or lungs= to leave it out",
                remedy="mend it",
            )
        found[label] = tuple(part.strip() for part in structures.split("+") if part.strip())
    return found
