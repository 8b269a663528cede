"""Any JSON value at all, for laws about what others may answer."""

from hypothesis import strategies as st

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


def json_values(*keys: str) -> st.SearchStrategy:
    """JSON values in whose objects these keys are likely."""
    names = st.sampled_from(keys) | st.text(max_size=4) if keys else st.text(max_size=4)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )
