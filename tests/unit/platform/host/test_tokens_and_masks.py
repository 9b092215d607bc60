import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from vigie.audit.v1 import audit_service_pb2 as audit
from vigie.common.v1 import types_pb2
from vigie.platform.aip import check_etag, etag_of, mask_paths
from vigie.platform.errors import VigieError
from vigie.platform.paging import Tokens, page_size_of, query_of

TOKENS = Tokens(b"k" * 32)


def search(subject: str, **fields: object) -> audit.SearchAccessesRequest:
    request = audit.SearchAccessesRequest(filter=audit.AccessFilter(subject=subject))
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def test_a_token_goes_on_where_the_page_ended() -> None:
    token = TOKENS.seal({"after": [12, "é"]}, query_of(search("a")))
    other_size = query_of(search("a", page_size=5, page_token=token))
    assert TOKENS.open_page(token, other_size) == {"after": [12, "é"]}
    assert TOKENS.open_page("", other_size) is None


def test_a_token_of_another_query_subject_or_installation_is_refused() -> None:
    query = query_of(search("a"))
    token = TOKENS.seal({"after": 1}, query, subject="person-1")
    attempts = [
        (TOKENS, token, query_of(search("b")), "person-1"),
        (TOKENS, token, query, "person-2"),
        (Tokens(b"x" * 32), token, query, "person-1"),
        (TOKENS, token[:-2] + "AA", query, "person-1"),
        (TOKENS, "é", query, "person-1"),
        (TOKENS, "a", query, "person-1"),
        (TOKENS, "AAAA", query, "person-1"),
    ]
    for tokens, text, asked, subject in attempts:
        with pytest.raises(VigieError) as caught:
            tokens.open_page(text, asked, subject=subject)
        assert (caught.value.reason.name, caught.value.field) == (
            "PAGE_TOKEN_INVALID",
            "page_token",
        )
    with pytest.raises(VigieError, match="RESUME_TOKEN_INVALID"):
        TOKENS.open_resume("nonsense", query)


def test_page_sizes() -> None:
    assert [page_size_of(n, default=50, most=500) for n in (0, 7, 9999)] == [50, 7, 500]


def test_etags() -> None:
    current = etag_of("cam-a", 3)
    check_etag("", current)
    check_etag(current, current)
    with pytest.raises(VigieError, match="ETAG_MISMATCH"):
        check_etag(etag_of("cam-a", 2), current)


def test_masks() -> None:
    changeable = ("text", "case_reference")
    new = types_pb2.Purpose(text="new")
    assert mask_paths(FieldMask(), new, changeable) == ("text",)
    assert mask_paths(FieldMask(paths=["*"]), new, changeable) == ("case_reference", "text")
    with pytest.raises(VigieError, match="'nam' cannot be changed"):
        mask_paths(FieldMask(paths=["nam"]), new, changeable)
