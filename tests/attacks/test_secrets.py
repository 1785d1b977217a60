"""What a caller learns of a tag from which it may not draw."""

import json

import pytest

from devstack.attacks.floods import ALLOC, HEALTH, PRIVATE_TAG
from devstack.attacks.rights import CALLER, INTRUDER
from devstack.attacks.site import PRIVATE_BEGINS, AttackSite
from tests.attacks.conftest import GetSite
from tests.foreign import ForeignClient

PATIENCE = 20.0


@pytest.fixture
def site(get_site: GetSite) -> AttackSite:
    """Have the tag in the memory of both workers, since somebody drew who may."""
    site = get_site()
    with ForeignClient(site.broker.users[CALLER]) as caller:
        for _ in range(2):
            request = json.dumps({"app_tag": PRIVATE_TAG}).encode()
            user = site.broker.user_name(CALLER)
            answer = caller.call(ALLOC, request, timeout=PATIENCE, user_id=user)
            assert answer is not None
            assert json.loads(answer[0])["id"] >= PRIVATE_BEGINS
    return site


@pytest.mark.parametrize("question", [{"app_tag": PRIVATE_TAG}, {}, {"fleet": True}])
@pytest.mark.parametrize("by_name", [False, True])
def test_health_tells_no_ids_of_others(
    site: AttackSite, question: dict[str, object], *, by_name: bool
) -> None:
    """Neither under its own name nor without one does a stranger read where the tag stands."""
    sender = {"user_id": site.broker.user_name(INTRUDER)} if by_name else {}
    with ForeignClient(site.broker.users[INTRUDER]) as caller:
        answer = caller.call(HEALTH, json.dumps(question).encode(), timeout=PATIENCE, **sender)
    assert answer is not None
    assert str(PRIVATE_BEGINS // 10**6).encode() not in answer[0]


@pytest.mark.parametrize("by_name", [False, True])
def test_a_tag_of_others_gives_nothing(site: AttackSite, *, by_name: bool) -> None:
    """It is refused, and the refusal says no more than that."""
    sender = {"user_id": site.broker.user_name(INTRUDER)} if by_name else {}
    with ForeignClient(site.broker.users[INTRUDER]) as caller:
        request = json.dumps({"app_tag": PRIVATE_TAG}).encode()
        answer = caller.call(ALLOC, request, timeout=PATIENCE, **sender)
    assert answer is not None
    reply = json.loads(answer[0])
    assert reply["resp_code"] == -5
    assert not reply.keys() & {"id", "ranges"}
