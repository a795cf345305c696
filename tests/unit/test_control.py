"""SOAP envelopes, and answers as devices write them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Code, CommandError, Outcome
from bridge.formats.xml import child, descendant, parse
from bridge.upnp.http.http1 import Body, find_head_end, read_head, read_status
from bridge.upnp.soap import STANDARD_FAULTS, envelope, read_answer

CAPTURES = Path(__file__).parent.parent / "captures"
SERVICE_TYPE = "urn:schemas-upnp-org:service:RenderingControl:1"


def read_capture(path: Path, action: str) -> dict[str, str]:
    wire = path.read_bytes()
    end = find_head_end(wire)
    head = read_head(wire)
    body = Body(head, 1_000_000)
    assert body.feed(wire[end:])
    return read_answer(read_status(head), body.body, action)


def soap(inner: str) -> bytes:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<s:Body>{inner}</s:Body></s:Envelope>"
    ).encode()


def fault(error: str, faultstring: str = "<faultstring>UPnPError</faultstring>") -> bytes:
    return soap(
        f"<s:Fault><faultcode>s:Client</faultcode>{faultstring}<detail>"
        f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0">{error}</UPnPError>'
        "</detail></s:Fault>"
    )


def refusal(status: int, body: bytes) -> CommandError:
    with pytest.raises(CommandError) as caught:
        read_answer(status, body, "GetVolume")
    return caught.value


# Envelopes


def test_an_envelope_is_the_one_that_real_devices_were_sent():
    captured = (CAPTURES / "gmediarender/action-SetVolume.request.http").read_bytes()
    arguments = [("InstanceID", "0"), ("Channel", "Master"), ("DesiredVolume", "37")]
    written = envelope(SERVICE_TYPE, "SetVolume", arguments)
    assert b"".join(written.split()) == b"".join(captured[find_head_end(captured) :].split())


def test_an_action_without_arguments_is_an_element_without_children():
    assert b'<u:Stop xmlns:u="urn:x"></u:Stop>' in envelope("urn:x", "Stop", ())


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
        | st.sampled_from("\r\n\t<>&'\"]")
    )
)
def test_any_text_that_xml_can_carry_comes_out_as_it_went_in(value):
    root, mended = parse(envelope("urn:x", "Act", [("Arg", value)]))
    action = descendant(root, "Act")
    assert not mended
    assert action is not None
    assert action.tag == "{urn:x}Act"
    argument = child(action, "Arg")
    assert argument is not None
    assert (argument.text or "") == value


@pytest.mark.parametrize("service_type", ['urn:"><x y="', "urn:'\"&<>", "urn:\u00fc"])
def test_an_odd_service_type_stays_a_namespace(service_type):
    root, _ = parse(envelope(service_type, "Act", ()))
    action = descendant(root, "Act")
    assert action is not None
    assert action.nsmap["u"] == service_type


@pytest.mark.parametrize(
    ("service_type", "action", "argument", "named"),
    [
        ("urn:x", "Act", ("Arg", "a\0"), "Arg"),
        ("urn:x", "Act", ("Arg", "\x1b"), "Arg"),
        ("urn:x", "Act", ("Arg", "\ud800"), "Arg"),
        ("urn:x", "Act", ("Arg", "\uffff"), "Arg"),
        ("urn:x", "Act", ("A><B", "1"), "A><B"),
        ("urn:x", "Act", ("", "1"), ""),
        ("urn:x", "Act/><x", ("Arg", "1"), "Act/><x"),
        ("urn:\0", "Act", ("Arg", "1"), "Act"),
    ],
)
def test_what_xml_cannot_carry_is_refused_before_anything_is_sent(
    service_type, action, argument, named
):
    with pytest.raises(CommandError) as caught:
        envelope(service_type, action, [argument])
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.argument == named


# Answers


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/action-Set*.answer.http")))
def test_a_captured_answer_without_arguments_is_read(path):
    assert read_capture(path, path.name.split("-")[1].split(".")[0]) == {}


def test_minidlnas_answer_to_browse_is_read_with_its_escaped_didl():
    out = read_capture(CAPTURES / "minidlna/action-Browse.answer.http", "Browse")
    assert list(out) == ["Result", "NumberReturned", "TotalMatches", "UpdateID"]
    assert out["NumberReturned"] == "4"
    assert out["Result"].startswith("<DIDL-Lite xmlns:dc=")
    assert out["Result"].endswith("</DIDL-Lite>")


def test_miniupnpds_answer_without_end_tag_is_read():
    assert read_capture(CAPTURES / "miniupnpd/action-AddPortMapping.answer.http", "X") == {}


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*/action-NoSuchAction.answer.http")))
def test_a_captured_fault_is_read(path):
    with pytest.raises(CommandError) as caught:
        read_capture(path, "NoSuchAction")
    code = 501 if path.parent.name == "gmediarender" else 401
    assert caught.value.code is Code.UPNP_FAULT
    assert caught.value.outcome is Outcome.REJECTED
    assert caught.value.upnp_code == code
    assert caught.value.reason == STANDARD_FAULTS[code]


@pytest.mark.parametrize(
    "body",
    [
        soap('<u:GetVolumeResponse xmlns:u="x"><V>1</V><W/></u:GetVolumeResponse>'),
        soap('<u:GetVolumeResponse xmlns:u="x"><u:V>1</u:V><u:W/></u:GetVolumeResponse>'),
        soap('<GetVolumeResponse xmlns="x"><V>1</V><W></W></GetVolumeResponse>'),
        soap("<GetVolumeResponse><V>1</V><W></W></GetVolumeResponse>"),
        soap("<u:GetVolumeResponse><V>1</V><W></W></u:GetVolumeResponse>"),
        soap("<GetVolume><V>1</V><W></W></GetVolume>"),
        soap("<Header/><GetVolumeResponse><V>1</V><W/></GetVolumeResponse>"),
        soap("<GetVolumeResponse><V>1</V><V>2</V><W/></GetVolumeResponse>"),
        soap("<GetVolumeResponse><V><![CDATA[1]]></V><!-- odd --><W/></GetVolumeResponse>"),
        b"\xef\xbb\xbf\r\n" + soap("<GetVolumeResponse><V>1</V><W/></GetVolumeResponse>") + b"\0\n",
        b"<Envelope><Body><GetVolumeResponse><V>1</V><W/></GetVolumeResponse></Body></Envelope>",
        b"<s:Envelope><s:Body><u:GetVolumeResponse><V>1</V><W/></u:GetVolumeResponse></s:Body>",
    ],
)
def test_a_sloppy_answer_is_read(body):
    assert read_answer(200, body, "GetVolume") == {"V": "1", "W": ""}


def test_texts_come_as_the_device_wrote_them():
    inner = "<R><A> NOT_IMPLEMENTED </A><B>1 & 2</B><C>&#13;&lt;</C><D>\x00</D><E>+1e99</E></R>"
    assert read_answer(200, soap(inner), "Get") == {
        "A": " NOT_IMPLEMENTED ",
        "B": "1 & 2",
        "C": "\r<",
        "D": "",
        "E": "+1e99",
    }


def test_latin_1_declared_only_in_the_prolog_is_decoded():
    body = "<?xml version='1.0' encoding='iso-8859-1'?><E><Body><R><A>K\xfcche</A></R></Body></E>"
    assert read_answer(200, body.encode("latin-1"), "Get") == {"A": "K\xfcche"}


@pytest.mark.parametrize("encoding", ["bogus", ""])
def test_an_encoding_that_is_wrongly_declared_does_no_harm(encoding):
    body = f"<?xml version='1.0' encoding='{encoding}'?><E><Body><R><A>1</A></R></Body></E>"
    assert read_answer(200, body.encode(), "Get") == {"A": "1"}


def test_utf_16_is_decoded():
    body = "<?xml version='1.0' encoding='utf-16'?><E><Body><R><A>\u20ac</A></R></Body></E>"
    assert read_answer(200, body.encode("utf-16"), "Get") == {"A": "\u20ac"}


def test_latin_1_declared_nowhere_is_decoded():
    body = "<E><Body><R><A>K\xfcche</A></R></Body></E>".encode("latin-1")
    assert read_answer(200, body, "Get") == {"A": "K\xfcche"}


def test_an_argument_that_was_not_escaped_is_returned_as_xml():
    didl = '<DIDL-Lite xmlns="d" xmlns:dc="e"><dc:title>1 &amp; 2</dc:title></DIDL-Lite>'
    body = soap(f'<u:R xmlns:u="u"><A>&lt; {didl}\n</A><B>1</B></u:R>')
    assert read_answer(200, body, "Get") == {"A": f"&lt; {didl}\n", "B": "1"}


OUTPUTS = ("CurrentVolume", "Channel")
TOLD = {"CurrentVolume": "20", "Channel": "LF"}


@pytest.mark.parametrize(
    "body",
    [
        soap("<u:GetVolumeResponse>{}<CurrentVolume>20</CurrentVolume></u:GetVolumeResponse>"),
        soap("<GetVolumeReply>{}<CurrentVolume>20</CurrentVolume></GetVolumeReply>"),
        soap("<getvolumeresponse><currentvolume>20</currentvolume>{}</getvolumeresponse>"),
        soap("<GetVolume><x:CURRENTVOLUME>20</x:CURRENTVOLUME>{}</GetVolume>"),
        soap("<CurrentVolume>20</CurrentVolume>{}"),
        soap("<Odd/><R><CurrentVolume>20</CurrentVolume>{}</R>"),
        soap("<W><GetVolumeResponse><CurrentVolume>20</CurrentVolume>{}</GetVolumeResponse></W>"),
    ],
)
def test_out_arguments_are_found_by_their_names(body):
    body = body.replace(b"{}", b"<Channel>LF</Channel>")
    assert read_answer(200, body, "GetVolume", OUTPUTS) == TOLD


@pytest.mark.parametrize(
    "inner",
    [
        "<Foo><Bar><Baz>20</Baz></Bar></Foo>",
        "<Foo><Bar><CurrentVolume>20</CurrentVolume></Bar></Foo>",
        "<Foo/>",
        "<html><body><p>OK</p></body></html>",
        "text",
        "",
        "<SetVolumeResponse/>",
        "<Foo>" * 50,
    ],
)
def test_an_answer_to_something_else_is_no_success_of_what_has_out_arguments(inner):
    with pytest.raises(CommandError) as caught:
        read_answer(200, soap(inner), "GetVolume", OUTPUTS)
    assert (caught.value.code, caught.value.outcome) == (Code.BAD_RESPONSE, Outcome.UNKNOWN)
    read_answer(200, soap(inner), "SetVolume", ())


def test_an_answer_of_the_right_name_is_one_whatever_is_missing_in_it():
    body = soap("<u:GetVolumeResponse xmlns:u='u'/>")
    assert read_answer(200, body, "GetVolume", OUTPUTS) == {}
    body = soap("<GetVolumeResponse><CurrentVolume>20</CurrentVolume><X>1</X></GetVolumeResponse>")
    assert read_answer(200, body, "GetVolume", OUTPUTS) == {"CurrentVolume": "20", "X": "1"}


def test_a_fault_within_something_else_is_one():
    inner = "<R><Fault><detail><errorCode>701</errorCode></detail></Fault></R>"
    with pytest.raises(CommandError) as caught:
        read_answer(200, soap(inner), "GetVolume", OUTPUTS)
    assert caught.value.upnp_code == 701


def test_text_in_answers_and_faults_is_text():
    body = soap("<R><A>&#55357;&#56832;@</A></R>").replace(b"@", b"\xc3")
    assert read_answer(200, body, "Get") == {"A": "😀\ufffd"}
    words = "T&#xD83D;ür &#xD83D;&#xDEAA;"
    error = f"<errorCode>701</errorCode><errorDescription>{words}</errorDescription>"
    assert refusal(500, fault(error)).reason == "Tür 🚪"


@pytest.mark.parametrize("status", [200, 204, 299])
def test_an_empty_soap_body_is_an_answer_without_arguments(status):
    assert read_answer(status, soap(""), "Play") == {}


@pytest.mark.parametrize("status", [200, 400, 402, 500])
def test_a_fault_counts_whatever_the_status(status):
    body = fault("<errorCode> 701 </errorCode><errorDescription> Door ajar\n</errorDescription>")
    error = refusal(status, body)
    assert (error.code, error.outcome, error.upnp_code) == (Code.UPNP_FAULT, Outcome.REJECTED, 701)
    assert error.reason == "Door ajar"


@pytest.mark.parametrize(
    "body",
    [
        b"<Envelope><Body><Fault><detail><errorCode>701</errorCode></detail></Fault></Body></Envelope>",
        soap('<Fault xmlns="odd"><UPnPError><x:errorCode>701</x:errorCode></UPnPError></Fault>'),
        soap("<s:Fault><detail><UPnPError><errorCode>701</errorCode>"),
    ],
)
def test_a_fault_in_odd_namespaces_keeps_its_code(body):
    assert refusal(500, body).upnp_code == 701
    assert refusal(500, body).reason == "UPnP error 701"


@pytest.mark.parametrize("code", sorted(STANDARD_FAULTS))
def test_a_missing_description_is_the_standards(code):
    assert refusal(500, fault(f"<errorCode>{code}</errorCode>")).reason == STANDARD_FAULTS[code]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (fault("<errorCode>none</errorCode>", "<faultstring> Busy </faultstring>"), "Busy"),
        (fault("<errorCode/>"), "UPnPError"),
        (fault("<errorCode>5.0</errorCode><errorDescription>Odd</errorDescription>"), "Odd"),
        (fault("<errorCode>\u0665</errorCode>"), "UPnPError"),
        (fault(f"<errorCode>{'9' * 5000}</errorCode>"), "UPnPError"),
        (soap("<s:Fault/>"), "a fault without words"),
    ],
)
def test_a_fault_without_a_number_has_words_alone(body, reason):
    error = refusal(500, body)
    assert (error.code, error.upnp_code, error.reason) == (Code.UPNP_FAULT, None, reason)


def test_a_fault_of_many_words_is_cut():
    words = f"<errorDescription>{'x' * 100_000}</errorDescription>"
    assert len(refusal(500, fault(words)).reason) == 500


@pytest.mark.parametrize(
    "body",
    [b"", b"OK", b"<html><body>404</body></html>", b"<root/>", b"\0\0", b"<", b"<!DOCTYPE a><a/>"],
)
def test_what_is_no_soap_is_a_bad_response_or_an_http_error(body):
    error = refusal(200, body)
    assert (error.code, error.outcome) == (Code.BAD_RESPONSE, Outcome.UNKNOWN)
    for status in (301, 401, 404, 500, 503):
        error = refusal(status, body)
        assert (error.code, error.outcome) == (Code.HTTP_ERROR, Outcome.REJECTED)
        assert str(status) in error.reason


def test_an_answer_under_an_error_status_is_an_http_error():
    body = soap("<GetVolumeResponse><V>1</V></GetVolumeResponse>")
    assert refusal(500, body).code is Code.HTTP_ERROR


def test_an_entity_that_nobody_declared_does_no_harm():
    body = "<E><Body><R>&odd;<A>1&odd;</A><B>2</B></R></Body></E>".encode("utf-16")
    assert read_answer(200, body, "Get")["B"] == "2"


def test_an_entity_is_never_resolved():
    body = b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + soap("<R><A>&e;</A></R>")
    assert refusal(200, body).code is Code.BAD_RESPONSE


@given(
    st.integers(100, 599),
    st.binary() | st.lists(st.sampled_from(
        ["<s:Envelope>", "<Body>", "</Body>", "<s:Fault>", "<errorCode>", "401", "<R>", "</R>",
         "<A>", "</A>", "&", "\0", "<!--", "<?", "<![CDATA[", " ", "\ud7ff", "<x:y z='"]
    )).map(lambda parts: "".join(parts).encode()),
)  # fmt: skip
def test_no_bytes_break_the_reading_of_an_answer(status, body):
    try:
        out = read_answer(status, body, "Get")
    except CommandError as error:
        assert error.outcome is not Outcome.NOT_SENT  # noqa: PT017 - either end is right
    else:
        assert all(isinstance(value, str) for value in out.values())


def test_xml_under_more_namespaces_than_a_device_has_is_no_answer():
    declared = " ".join(f"xmlns:n{number}='u'" for number in range(33))
    error = refusal(200, soap(f"<R {declared}><A><b/></A></R>"))
    assert error.code is Code.BAD_RESPONSE
