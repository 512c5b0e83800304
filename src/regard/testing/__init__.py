"""Laws that every explainer keeps, for the tests of Regard and of those who add a method.

In a test of your own::

    import pytest
    from regard.testing import check, promised_laws

    @pytest.mark.parametrize("law", promised_laws(MyMethod))
    def test_law(law):
        check(law, MyMethod)
"""

from regard.testing.laws import LAWS, check, promised_laws
from regard.testing.networks import TinyNetwork, TwoInputs

__all__ = ["LAWS", "TinyNetwork", "TwoInputs", "check", "promised_laws"]
