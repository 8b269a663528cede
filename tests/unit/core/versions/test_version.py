"""Names that are made of versions: valid, short, and never the same for two of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inference_rollouts.core.versions.semver import is_release, rank
from inference_rollouts.core.versions.version import (
    LONGEST_NAME,
    NAME,
    Version,
    canary_name,
    filled,
    parse_version,
)
from tests.support.versions import version

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
names = st.from_regex(NAME, fullmatch=True)
prefixes = st.from_regex(r"[a-z][-a-z0-9]{0,30}", fullmatch=True)


def test_the_canary_is_called_after_the_version() -> None:
    assert re.fullmatch(r"llm-v0-32-0-[0-9a-f]{8}", canary_name("llm-{version}", version("v0.32.0")))


@given(prefixes, names)
def test_every_name_is_a_dns_label_that_a_node_pool_may_have(prefix: str, name: str) -> None:
    made = canary_name(f"{prefix}{{version}}", version(name))
    assert DNS_LABEL.fullmatch(made)
    assert len(made) <= LONGEST_NAME


@given(names, names)
def test_two_versions_never_have_one_name(one: str, other: str) -> None:
    assume(one != other)
    made = {canary_name("llm-{version}", version(each)) for each in (one, other)}
    assert len(made) == 2


def test_a_tag_that_moved_is_another_version() -> None:
    before = Version(name="stable", digest=f"sha256:{'a' * 64}")
    after = Version(name="stable", digest=f"sha256:{'b' * 64}")
    assert canary_name("llm-{version}", before) != canary_name("llm-{version}", after)


def test_a_text_gets_name_and_digest() -> None:
    found = version("v1")
    assert filled("shop/llm:{version}@{digest}", found) == f"shop/llm:v1@{found.digest}"


@given(names, st.booleans())
def test_the_text_of_a_version_is_read_back(name: str, pinned: bool) -> None:
    made = version(name, pinned=pinned)
    assert parse_version(str(made)) == made


@pytest.mark.parametrize(
    "text",
    ["", "-v1", "v1 ", "v1@sha256:12", "a" * 129, "v1\n", 'v1"}', "v1; rm -rf", "v1@md5:00", "{version}"],
)
def test_what_could_mean_something_elsewhere_is_no_version(text: str) -> None:
    assert parse_version(text) is None


def test_versions_are_ordered_as_semver_says() -> None:
    """The examples of paragraph 11, and a number that is longer than another."""
    tags = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0"
    ordered = [*tags.split(), "v1.0.9", "1.0.10", "v2.0.0"]
    assert sorted(ordered, key=lambda tag: rank(tag) or ((0, 0, 0), ())) == ordered


@pytest.mark.parametrize("tag", ["latest", "1.0", "v01.2.3", "1.2.3-", "1.2.3-a..b", "sha-abc"])
def test_other_tags_are_no_versions(tag: str) -> None:
    assert rank(tag) is None


def test_what_precedes_a_release_is_none() -> None:
    assert is_release("v1.2.3")
    assert not is_release("v1.2.3-rc.1")
