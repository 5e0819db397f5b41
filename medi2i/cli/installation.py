"""Whether libraries are as new as this package asks for: older ones have holes that are known."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from medi2i.errors import EnvironmentProblemError


def require_floors(package: str = "medi2i") -> None:
    """Refuse to start with a library below the floor that the package's metadata states.

    `pip install --no-deps` and later downgrades go past what pip checked once. Floors are at least the first
    releases without the holes that docs/trust.md lists. Extras are not asked.

    Raises:
        EnvironmentProblemError: a library is absent or too old; all of them are named.
    """
    wrong = []
    for line in requires(package) or ():
        wanted = Requirement(line)
        if wanted.marker is not None:
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            wrong.append((wanted, "none"))
            continue
        if not wanted.specifier.contains(there, prereleases=True):
            wrong.append((wanted, there))
    if wrong:
        raise EnvironmentProblemError(
            "installation",
            found=", ".join(f"{wanted.name} {there}" for wanted, there in wrong),
            expected=", ".join(str(wanted) for wanted, _ in wrong),
            remedy=f"pip install {' '.join(repr(str(wanted)) for wanted, _ in wrong)}",
        )
