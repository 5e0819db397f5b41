"""What can go wrong with these domains, in words: each sentence follows from findings by a written rule."""

from __future__ import annotations

from collections.abc import Sequence

from medi2i.preflight.findings import Finding

# findings that lead to a consequence, and the consequence; the first ones stop a run or make it worthless
_RULES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("folder-unusable", "mask-unusable", "same-images", "split-empty"),
        "A run stops at once: the data contradict themselves. Mend the errors first.",
    ),
    (
        ("patient-in-two-splits", "duplicate-across-splits", "near-duplicate", "patients-unknown"),
        "Test images are known from the training: numbers will be too good. Mend patients.csv.",
    ),
    (
        ("polarity-differs", "inverted-image"),
        "Inverted images teach a translation to swap dark and bright, and no loss that follows gray values "
        "can hold it.",
    ),
    (
        ("domains-swapped",),
        "Masks would be asked of the domain that has none: the translation goes the wrong way.",
    ),
    (
        ("one-patient",),
        "One patient shows one anatomy: the discriminator can tell the domains apart by it, and every number "
        "speaks of this patient only.",
    ),
    (
        ("few-images",),
        "There is too little to learn a look from: expect memorised films, and prefer the baselines "
        "(histogram, randomisation).",
    ),
    (
        ("framing-differs", "domains-unlike", "shapes-differ", "framing-unknown"),
        "The domains show the body differently: a free translation will move or cut anatomy to match, "
        "and masks then no longer fit. Match the framing first, and add structure losses.",
    ),
    (
        ("prevalence-differs",),
        "Structures will be invented or removed, because one domain shows them more often: hold the "
        "translation with structure losses and look for it in the report's content maps.",
    ),
    (
        ("unlike-others", "mixed-views"),
        "Some images may show another view or body part: what a translation learns from them, and distances "
        "between the domains, then mean little.",
    ),
    (
        ("burned-in-text", "marks"),
        "Translations may carry letters and marks that no patient had.",
    ),
    (
        ("collimated", "borders"),
        "The field's shape differs from image to image: it is left out of all numbers, yet edges near it can "
        "show artefacts.",
    ),
    (
        ("implausible-spacing", "odd-spacing", "pixels-not-square"),
        "Millimetres can't be trusted here: displacements and distances in mm will be wrong.",
    ),
    (
        ("mixed-bit-depth", "few-gray-levels"),
        "The domain is several looks in one: intensity maps are fitted image by image, and a bias of the "
        "chain can remain.",
    ),
    (
        ("lung-definition", "lungs-projected"),
        "Overlap scores will show a difference of definitions that is no fault of the translation: compare "
        "like with like.",
    ),
    (
        ("masks-empty", "structure-absent", "mask-full"),
        "Some masks say nothing or the wrong thing: structure losses and Dice will count them.",
    ),
    (
        ("constant-image",),
        "Constant images teach nothing and pull the intensity maps.",
    ),
    (
        ("duplicate-across-domains", "patient-in-both-domains"),
        "The domains are not independent: a paired comparison may leak into the training.",
    ),
)
_NOTHING = (
    "Nothing was found that makes a run fail. What no check of this kind can know: whether both domains show "
    "equally ill patients, and whether masks are right."
)


def forecast(findings: Sequence[Finding]) -> list[str]:
    """Sentences on what can go wrong, the gravest first; one that says so if nothing stands out."""
    codes = {finding.code for finding in findings}
    grave = {finding.code for finding in findings if finding.severity != "info"}
    told = [words for causes, words in _RULES if codes & set(causes)]
    return told if grave else [*told, _NOTHING]
