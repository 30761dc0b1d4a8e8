"""Words about OPC-UA requests and answers for the trace."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.opcua.words import MOST, answer_words, request_words
from gateway.opcua.stack import ua

CODES = st.sampled_from([0, 0x80340000, 0x40000000, 0x808D0000])


def nodes(count: int) -> list[Any]:
    return [ua.NodeId(f"N{n}", 2) for n in range(count)]


def read(count: int) -> Any:
    request = ua.ReadRequest()
    request.Parameters.NodesToRead = [ua.ReadValueId(node, ua.AttributeIds.Value) for node in nodes(count)]
    return request


def write(value: Any) -> Any:
    request = ua.WriteRequest()
    one = ua.WriteValue()
    one.NodeId, one.AttributeId, one.Value = nodes(1)[0], ua.AttributeIds.Value, value
    request.Parameters.NodesToWrite = [one]
    return request


@given(st.integers(0, 30))
def test_a_read_names_its_nodes_and_counts_the_rest(count: int) -> None:
    text = request_words(read(count))
    assert text.startswith("Read") and text.count("ns=2;s=N") == min(count, MOST)
    assert (f"... {count - MOST} more" in text) == (count > MOST)


def test_a_write_shows_its_value_or_that_there_is_none() -> None:
    assert request_words(write(ua.DataValue(ua.Variant(42.0, ua.VariantType.Double)))) == "Write ns=2;s=N0 = 42.0"
    assert request_words(write(ua.DataValue())) == "Write ns=2;s=N0 = None"


def test_every_service_of_the_client_has_words() -> None:
    browse = ua.BrowseRequest()
    browse.Parameters.NodesToBrowse = [ua.BrowseDescription()]
    browse.Parameters.NodesToBrowse[0].NodeId = ua.NodeId(85, 0)
    assert request_words(browse) == "Browse i=85"
    create = ua.CreateMonitoredItemsRequest()
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor = ua.ReadValueId(nodes(1)[0], ua.AttributeIds.Value)
    create.Parameters.ItemsToCreate = [item]
    assert request_words(create) == "CreateMonitoredItems ns=2;s=N0"
    call = ua.CallRequest()
    method = ua.CallMethodRequest()
    method.MethodId = ua.NodeId("Add", 1)
    call.Parameters.MethodsToCall = [method]
    assert "Call" in request_words(call)
    assert request_words(ua.PublishRequest()) == "Publish"
    assert request_words(ua.CloseSessionRequest()) == "CloseSession"
    translate = ua.TranslateBrowsePathsToNodeIdsRequest()
    path = ua.BrowsePath()
    path.StartingNode = ua.NodeId(84, 0)
    translate.Parameters.BrowsePaths = [path]
    assert request_words(translate) == "TranslateBrowsePathsToNodeIds i=84"


@given(st.lists(st.tuples(st.floats(allow_nan=False), CODES), max_size=20))
def test_an_answer_shows_values_or_why_there_are_none(found: list[tuple[float, int]]) -> None:
    answer = ua.ReadResponse()
    answer.Results = [
        ua.DataValue(ua.Variant(value, ua.VariantType.Double), ua.StatusCode(code)) for value, code in found
    ]
    text = answer_words(answer)
    for value, code in found[:MOST]:
        assert repr(value) in text if code >> 31 == 0 else "Bad" in text
    assert (f"... {len(found) - MOST} more" in text) == (len(found) > MOST)


def test_answers_of_the_other_services() -> None:
    written = ua.WriteResponse()
    written.Results = [ua.StatusCode(0), ua.StatusCode(0x80740000)]
    assert answer_words(written) == "Write: good, BadTypeMismatch"
    created = ua.CreateMonitoredItemsResponse()
    created.Results = [ua.MonitoredItemCreateResult(ua.StatusCode(0x80340000)), ua.MonitoredItemCreateResult()]
    assert answer_words(created) == "CreateMonitoredItems: BadNodeIdUnknown, good"
    published = ua.PublishResponse()
    published.Parameters.SubscriptionId = 9
    published.Parameters.NotificationMessage.NotificationData = [ua.DataChangeNotification()]
    assert answer_words(published) == "Publish: subscription 9, 1 notifications"
    assert answer_words(ua.CloseSessionResponse()) == "CloseSession: done"
    empty = ua.ReadResponse()
    empty.Results = [ua.DataValue()]
    assert answer_words(empty) == "Read: None"
