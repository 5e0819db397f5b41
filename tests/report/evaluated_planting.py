"""What was planted and what is hidden, of an evaluation made by hand; intervals and shares for the rest."""

from __future__ import annotations

from typing import Any


def interval(estimate: float | None, half: float = 0.02, patients: int | None = 30) -> dict[str, Any]:
    """A mean over 30 films, `half` to either side."""
    known = estimate is not None
    return {
        "estimate": estimate,
        "low": round(estimate - half, 6) if known else None,
        "high": round(estimate + half, 6) if known else None,
        "n_images": 30 if known else 0,
        "n_undefined": 0 if known else 30,
        "n_patients": patients if known else 0,
        "patients_unknown": patients is None,
    }


def share(kept: int, total: int, low: float, high: float) -> dict[str, Any]:
    return {"estimate": kept / total, "low": low, "high": high}


def planted(kind: str, kept: int, undecided: int = 0) -> dict[str, Any]:
    """One kind that was planted in 20 patients."""
    n = 20 - undecided

    def counted(count: int) -> dict[str, Any]:
        return {"count": count} | share(count, n, max(0.0, count / n - 0.2), min(1.0, count / n + 0.04))

    return {
        "kind": kind,
        "n": n,
        "undecided": undecided,
        "kept": counted(kept),
        "lost": counted(n - kept),
        "elsewhere": counted(0),
        "response_median": 0.93,
    }


STEGANOGRAPHY: dict[str, Any] = {
    "n_images": 8,
    "reason": None,
    "unit": "share of the range",
    "disturbed_by": {"blur_px": 1.0, "noise": 0.02, "jpeg_quality": 75},
    "cycle_error": interval(0.021, 0.002, 8),
    "cycle_error_disturbed": {
        name: interval(error, 0.002, 8)
        for name, error in (("blur", 0.025), ("noise", 0.027), ("jpeg", 0.024))
    },
    "amplification": {name: interval(0.9, 0.1, 8) for name in ("blur", "noise", "jpeg")},
    "worst_amplification": 1.1,
}
CONTENT_CONTROLS: dict[str, Any] = {
    "n_images": 20,
    "n_patients": 20,
    "reason": None,
    "unit": "patients",
    "threshold": 5.2,
    "calibrated_on": "style changes of 12 other patients (phantom patients)",
    "planted": [planted("nodule", 19), planted("rib gap", 15, 2), planted("device", 20)],
    "invented": {"n": 20, "count": 1} | share(1, 20, 0.01, 0.24),
}
