"""Every component of segkit-losses against the contract of its kind, multilabel too."""

from segkit.testing import Case, conformance

BOTH = ("ce", "dice", "focal", "tversky", "focal_tversky", "jaccard", "lovasz", "boundary")


@conformance(
    "segkit-losses",
    examples={f"losses/{name}": [name, f"{name}(multilabel=true)"] for name in BOTH},
)
def test_conformance(case: Case) -> None:
    case.run()
