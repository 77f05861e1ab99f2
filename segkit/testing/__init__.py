"""The conformance kit: one decorator is a plugin's whole test file.

    from segkit.testing import Case, conformance

    @conformance("segkit-densenet")
    def test_conformance(case: Case) -> None:
        case.run()

One pytest case per (component, check), called
`encoders/densenet121/maps_have_declared_shapes`. The claims are the checks' docstrings, kind by
kind, in the modules beside this one. `options_of(factory, kind)` gives a component's options, so
that a test can hold the documentation to them. Importing segkit.testing imports neither torch nor
pytest.
"""

from segkit.registry.options import options_of
from segkit.testing.conformance import Case, conformance
from segkit.testing.subject import Breach, NotApplicable, Subject

__all__ = ["Breach", "Case", "NotApplicable", "Subject", "conformance", "options_of"]
