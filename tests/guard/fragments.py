"""What random streams are made of, a fragment a line, escapes as in Python."""

import regex

_VALUES = r"""\
Mary Jones
Mary Ann Jones
John Smith's
田中太郎
ジョン・スミス
José
Sammy Davis, Jr.
山田部長
ルイ14世
佐藤係長
藤子・F・不二雄
O'Neil-Smith
mary.jones@example.com
x@mail.example.co.uk
taro@example.jp
ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ
jürgen@müller.de
+44 20 7946 0958
020 7946 0958
(212) 555-0123
03-3210-1234
０９０－１２３４－５６７８
03ー3210ー1234
09012345678
(212) 555-0123 ext. 45
555 0199
4111 1111 1111 1111
4111111111111111
3782 822463 10005
GB82 WEST 1234 5698 7654 32
DE89370400440532013000
gb82west12345698765432
536-90-4399
6214 9832 0257
AB 12 34 56 C
943 476 5870
54362315K
RCCMNL83S18D969H
131052-308T
390.533.447-05
TK1234567
1990-05-17
May 17, 1990
17 May 1990
昭和60年5月17日
1990年5月17日
S60年5月1日
203.0.113.7
10.1.2.3
8.8.8.8
2001:db8::ff00:42:8329
fe80::1
１９８．５１．１００．７
東京都千代田区丸の内1-2-3
〒100-0005
〒1000005 
大阪府大阪市北区梅田三丁目1番3号
Unit 100100 Box 4120, APO AE 09464
corner of Main and Oak Street
USS Enterprise FPO AP 96601
12 High Street, London
hunter2!x
Kx9#mQ2
4821
a_b-c
@mary_j
"""
# Split, so that scanners of source code do not take these made-up keys for real ones.
_KEYS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp" + "_" + "a1B2" * 9,
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0" + ".c2lnbmF0dXJl",
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nAbc+/=\n-----END RSA " + "PRIVATE KEY-----",
    "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIEow+/AbCd1234\n" * 30,
    "sk_live_" + "a1b2c3d4e5f6",
    "xoxb-" + "123456789012-abcDEF",
    "postgres://user:" + "s3cr3tpw" + "@db:5432/x",
]
_CUES = r"""\
call\x20
tel:\x20
電話は
携帯は
order\x20number\x20
invoice\x20no.\x20
ticket #
注文番号は
SSN\x20
passport\x20no.\x20
NHS\x20number\x20
マイナンバーは
口座番号\x20
card\x20
password:\x20
パスワードは「
api_key = "
PIN:\x20
暗証番号：
version\x20
released\x20
ping\x20
born\x20
session=
token=
IBAN\x20
at\x20the\x20
私の名前は
mailto:
?email=
driver's\x20license\x20number\x20
"""
_PROSE = r"""\
the\x20committee\x20approved\x20the\x20new\x20bridge\x20on\x20Tuesday\x20
it\x20rained\x20again,\x20and\x20
雨が降っていた。
road\x20was\x20wet;\x20
I\x20met\x20
there.\x20
\n
\r\n
\n\n
\x20\x20
「
」
(
)
,\x20
.\x20
、
。
さんの
様に
は
が
の
です
木の実
&
and\x20
's\x20
-
ー
・
@
é
e\u0301
👨\u200d👩\u200d👧\x20
🇯🇵
🇬🇧🇯
が\u3099
\u200d
\u0301
\r
\t
1
23,
4.5
0
,
:
/
_
=
x
\ufdd0
世
紀
十
a\x20long-winded\x20and/or\x20half-baked\x20e-mail\x20
https://example.com/a?b=c#d\x20
1,234,567
800x600
A
Z
"""


def _lines(block: str) -> list[str]:
    """The fragments of a block, escapes read."""
    return [regex.sub(_ESCAPE, _read, line) for line in block.lstrip("\\\n").splitlines()]


def _read(escape: "regex.Match[str]") -> str:
    return str(escape.group().encode().decode("unicode_escape"))


_ESCAPE = regex.compile(r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")
VALUES, CUES, PROSE = [*_lines(_VALUES), *_KEYS], _lines(_CUES), _lines(_PROSE)
