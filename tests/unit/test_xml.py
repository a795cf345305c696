"""XML as devices write it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.formats import xml


@given(st.binary())
def test_no_bytes_break_it(data):
    with suppress(xml.XmlError):
        xml.parse(data)


@given(st.text("<>/&;!?a \"'=x[]-", max_size=60))
def test_nothing_like_xml_breaks_it(text):
    with suppress(xml.XmlError):
        xml.parse_text(text)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"<a>x</a>", "x"),
        (b"\xef\xbb\xbf<a>x</a>", "x"),
        (b"\r\n <a>x</a>", "x"),
        (b"<a>x</a>\0\0\0", "x"),
        (b"<a>x</a> trailing junk", "x"),
        (b"<a>A & B</a>", "A & B"),
        (b"<a>A &amp; B &#65;</a>", "A & B A"),
        (b"<a><p:b>x</p:b></a>", "x"),
        (b"<a><b>x</a>", "x"),
        ('<?xml version="1.0"?><a>ä</a>'.encode("latin-1"), "ä"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><a>ä</a>'.encode("latin-1"), "ä"),
        ('<?xml version="1.0" encoding="latin-1"?><a>ä & b</a>'.encode(), "ä & b"),
        ('<?xml version="1.0" encoding="utf-16"?><a>ä</a>'.encode("utf-16"), "ä"),
        ('<?xml version="1.0" encoding="no-such"?><a>ä</a>'.encode(), "ä"),
        (b"<a>x<!-- no --><?no no?>y</a>", "xy"),
        (
            '<?xml version="1.0" encoding="Unicode_Escape"?><a>\\d ä & b</a>'.encode("latin-1"),
            "\\d ä & b",
        ),
    ],
    ids=range(16),
)
def test_what_devices_write_is_read(data, content):
    root, _ = xml.parse(data)
    assert "".join(str(part) for part in root.itertext()) == content


@pytest.mark.parametrize("data", [b"", b"   ", b"text", b"<", b"<>", b"\0", b"<!-- only -->"])
def test_what_has_no_element_is_refused(data):
    with pytest.raises(xml.XmlError):
        xml.parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>& &x;</a>',
    ],
)
def test_a_document_type_is_refused_or_has_no_effect(data):
    try:
        root, _ = xml.parse(data)
    except xml.XmlError:
        return
    assert "y" not in xml.text(root)
    assert "root:" not in xml.text(root)


def test_a_tower_of_elements_is_survived():
    with suppress(xml.XmlError):
        assert not xml.text(xml.parse(b"<a>" * 100_000)[0])


def test_what_was_mended_is_told():
    assert xml.parse(b"<a>&amp;</a>")[1] is False
    assert xml.parse(b"<a>&</a>")[1] is True


def test_names_are_looked_for_without_their_namespace():
    root, _ = xml.parse(b'<a xmlns:x="urn:x"><x:b> 1 </x:b><b>2</b><c><d>3</d></c></a>')
    assert xml.child_text(root, "b") == "1"
    assert [xml.text(one) for one in xml.children(root, "b")] == [" 1 ", "2"]
    assert xml.text(xml.descendant(root, "d")) == "3"
    assert xml.child(root, "d") is None
    assert not xml.child_text(root, "none")


def test_the_declared_encoding_of_text_that_is_decoded_does_not_count():
    root, _ = xml.parse_text('<?xml version="1.0" encoding="latin-1"?><a>ä</a>')
    assert xml.text(root) == "ä"


@pytest.mark.parametrize("encoding", ["unicode_escape", "raw_unicode_escape", "undefined", "idna"])
def test_an_encoding_that_is_none_of_xml_breaks_nothing(encoding):
    data = f"<?xml version='1.0' encoding='{encoding}'?><a>\\ud800 \xff&</a>".encode("latin-1")
    root, mended = xml.parse(data)
    assert xml.local(root) == "a"
    assert mended


def test_the_text_of_an_element_is_not_that_of_its_children():
    root, _ = xml.parse(b"<a>x<b>y</b>z</a>")
    assert xml.text(root) == "x"


def test_what_stands_within_an_element_is_xml_where_it_holds_elements():
    root, _ = xml.parse(b"<a xmlns:p='q'>1 &lt; <b xmlns='n' c='&gt;'><p:d/></b> 3</a>")
    assert xml.inner(root) == '1 &lt; <b xmlns="n" c="&gt;"><p:d/></b> 3'
    root, _ = xml.parse(b"<a>1 &lt; 2</a>")
    assert xml.inner(root) == "1 < 2"


def test_xml_under_more_namespaces_than_a_device_has_is_refused():
    declared = " ".join(f"xmlns:n{number}='u'" for number in range(33))
    root, _ = xml.parse(f"<a {declared}><b><c/></b></a>".encode())
    with pytest.raises(xml.XmlError):
        xml.inner(root[0])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<a>" + b"<b/>" * xml.MAX_TAGS + b"</a>", "tags"),
        (b"<a>" + b"&" * (xml.MAX_MENDED + 1) + b"</a>", "ampersands"),
    ],
)
def test_more_than_any_device_writes_is_not_read(data, reason):
    with pytest.raises(xml.XmlError, match=reason):
        xml.parse(data)
    xml.parse(data.replace(b"<b/>" * 3, b"", 1).replace(b"&", b"", 1))


GRADE = "Zwölf Grad – kühl "
SMILE = [
    *("&#55357;&#56832;", "&#xD83D;&#xDE00;", "&#xd83d;&#56832;", "&#x000D83d;&#0056832;"),
    *("&#XD83D;&#XDE00;", "&amp;#55357;&amp;#56832;", "&amp;amp;#xD83D;&amp;amp;#xDE00;"),
]


def in_both(written):
    """What an attribute and a text of these bytes or this text are read as."""
    data = written if isinstance(written, bytes) else written.encode()
    root, _ = xml.parse(b"<a b='" + data + b"'><c>" + data + b"</c></a>")
    assert root.get("b") == xml.child_text(root, "c")
    return root.get("b")


@pytest.mark.parametrize("pair", SMILE)
def test_one_character_as_two_references_is_one(pair):
    assert in_both(f"ä {pair}b{pair}{pair}") == "ä 😀b😀😀"


def test_one_character_as_two_that_are_no_characters_is_one():
    assert in_both(b"a\xed\xa0\xbd\xed\xb8\x80b") == "a😀b"


@pytest.mark.parametrize(
    "lone",
    [
        *("&#55357;", "&#56832;", "&#xDE00;&#xD83D;", "&#xD83D; &#xDE00;", b"\xed\xa0\xbd", "&#0;"),
        *("&#x1F;", "&#xFFFE;", "&#xFFFF;", "&#x0B;", b"\0", b"\x01", b"\xef\xbf\xbf"),
    ],
)
def test_what_is_no_character_is_left_out_and_all_else_stays(lone):
    lone = lone if isinstance(lone, bytes) else lone.encode()
    assert in_both(b"a" + lone + "ü&lt;".encode() + lone + b"b").replace(" ", "") == "aü<b"


@pytest.mark.parametrize("digits", ["1114112", "x110000", "9" * 5000, "x" + "f" * 5000])
def test_a_reference_beyond_all_characters_is_a_mark(digits):
    assert in_both(f"a&#{digits};b") == "a\ufffdb"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a&nbsp;b", "a\xa0b"),
        ("caf&eacute;&hellip;", "café…"),
        ("&frac12; &there4;", "½ ∴"),
        ("&AMP; AT&T; R&D &copy", "&AMP; AT&T; R&D &copy"),
        ("?a=1&lang=de&x;", "?a=1&lang=de&x;"),
        ("&#x; &#; &# &", "&#x; &#; &# &"),
        ("&#0000065;&#X41;", "AA"),
    ],
)
def test_other_references_are_read_as_they_are_meant(written, text):
    assert in_both(f"{written} &") == f"{text} &"


def test_references_in_cdata_are_none():
    root, _ = xml.parse(b"<a><![CDATA[R&D &#65;&#X41; &eacute;]]> & <b/>")
    assert xml.text(root) == "R&D &#65;&#x41; &eacute; & "


@pytest.mark.parametrize("bad", [b"\xc3", b"\xe2\x80", b"\xff", b"\xf0\x9f\x98", b"\x80"])
def test_one_bad_byte_costs_one_character(bad):
    assert in_both(GRADE.encode() + bad) == f"{GRADE}\ufffd"


@pytest.mark.parametrize(
    ("data", "content"),
    [
        ('<?xml version="1.0" encoding="ISO-8859-1"?><a>ä – ü</a>'.encode(), "ä – ü"),
        ('<?xml version="1.0" encoding="us-ascii"?><a>ä – ü</a>'.encode(), "ä – ü"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a>ä – ü</a>'.encode("cp1252"), "ä – ü"),
        ('<?xml version="1.0" encoding="windows-1251"?><a>Привет</a>'.encode("cp1251"), "Привет"),
        ('<?xml version="1.0" encoding="windows-1251"?><a>Привет</a>'.encode(), "Привет"),
        ('<?xml version="1.0" encoding="UTF-16"?><a>ä–😀</a>'.encode("utf-16-le"), "ä–😀"),
        ('<?xml version="1.0" encoding="UTF-16"?><a>ä–😀</a>'.encode("utf-16-be"), "ä–😀"),
        ('<?xml version="1.0"?><a>ä–&#55357;&#56832;</a>'.encode("utf-16"), "ä–😀"),
        ('<?xml version="1.0" encoding="utf-16"?><a>ä–😀</a>'.encode(), "ä–😀"),
        ('<?xml version="1.0" encoding="utf-8"?><a>Küche</a>'.encode("latin-1"), "Küche"),
    ],
)
def test_an_encoding_is_what_the_bytes_show(data, content):
    assert xml.text(xml.parse(data)[0]) == content


def test_what_is_well_formed_in_an_encoding_of_its_own_was_not_mended():
    for encoding in ("iso-8859-1", "utf-8", "utf-16"):
        data = f'<?xml version="1.0" encoding="{encoding}"?><a>ä</a>'.encode(encoding)
        assert xml.parse(data)[1] is False


def everything(root):
    for element in root.iter():
        yield xml.local(element)
        yield from (element.text or "", element.tail or "")
        yield from map(str, (*element.attrib.keys(), *element.attrib.values()))
        yield from map(str, element.nsmap.values())
        with suppress(xml.XmlError):
            yield xml.inner(element)


HARM = st.sampled_from(
    [
        *(b"<a b='", b"'>", b"</a>", b"&#", b";", b"&#55357;", b"&#xDE00;", b"\xed\xa0\xbd"),
        *(b"\xed\xb8\x80", b"&#0;", b"&#x1f;", b"\0", b"\xff\xfe", b"\xfe\xff", b"\xc3", b"a"),
        *(b"\xe2\x80", b"&eacute;", b"xmlns:", b"<![CDATA[", b"]]>", b"&amp;#xd83d;", b"="),
        *(b"<?xml encoding='gbk'?>", b"<?xml version='1.0' encoding='shift_jis'?>", b"<!--"),
        *(b"<?xml version='1.0' encoding='latin-1'?>", b"\xef\xbf\xbe", b"&#99999999999;", b"<?p "),
    ]
)


@given(st.lists(HARM | st.binary(max_size=4)).map(b"".join))
def test_all_that_can_be_read_is_text(data):
    for whole in (data, b"<r>" + data + b"</r>", b"<r a='" + data + b"'/>"):
        try:
            root, _ = xml.parse(whole)
        except xml.XmlError:
            continue
        for text in everything(root):
            assert text.encode().decode() == text
            assert "\0" not in text


@given(st.text("&#;xDd83E0542amplt<>\ud83d\ude00 ", max_size=60))
def test_text_that_was_decoded_badly_is_text_again(content):
    with suppress(xml.XmlError):
        for text in everything(xml.parse_text(f"<a b='{content}'>{content}</a>")[0]):
            text.encode()
    xml.unescaped(content).encode()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("&lt;a&gt; &amp;lt;", "<a> &lt;"),
        ("&#55357;&#56832; &#xD83D;", "😀 "),
        ("&#60;a&#x3E; &eacute;", "<a> é"),
        (f"&#{'9' * 5000}; &#{'9' * 5000} &#x{'f' * 5000};", "\ufffd \ufffd \ufffd"),
    ],
)
def test_text_that_was_escaped_once_too_often_is_as_before(written, text):
    assert xml.unescaped(written) == text
