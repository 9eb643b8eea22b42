"""The sample mails of ``toc demo``: four languages, HTML and plain text. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from email.charset import Charset

PAGES: Mapping[str, str] = {
    "approved": "A site that the organisation approved",
    "unknown": "A site that no list knows",
    "suspicious": "A site that a list calls suspicious",
    "dangerous": "A site on the list of suspicious objects",
}
"""Path of a local demo page → what it stands for."""


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    title: str
    raw: bytes


def samples(page: Mapping[str, str]) -> list[Sample]:
    """`page`: name of `PAGES` → its URL."""
    html = (
        '<html><body style="font-family:sans-serif"><p>Dear customer,</p>\n'
        f'<p>your order has been shipped: <a href="{page["approved"]}?order=12&amp;step=2">track it here</a>.</p>\n'
        f'<p>New: <a href="{page["unknown"]}">our autumn catalogue</a>.</p>\n'
        f'<p>Pay at <a href="{page["suspicious"]}">https://bank.example.com</a> or at {page["dangerous"]}.</p>\n'
        "</body></html>\n"
    )
    japanese = (
        f"田中様\n\nご注文の確認は{page['approved']}をご覧ください。\n詳細（{page['unknown']}）もあります。\n"
        f"お支払いはこちら→{page['dangerous']}。よろしくお願いします。\n"
    )
    chinese = f"您好：\n\n请访问{page['unknown']}了解更多，或点击{page['suspicious']}。\n谢谢！\n"
    korean = (
        f'<html><body><p>안녕하세요,</p><p>자세한 내용은 <a href="{page["approved"]}">여기</a>를 참고하세요. '
        f"결제는 {page['dangerous']} 에서 하세요.</p></body></html>\n"
    )
    plain = f"Hi,\n\nhere is the report: <{page['approved']}>\nand the second one ({page['unknown']}).\n\nBest\nAnna\n"
    return [
        _sample("html-en", "Your order has been shipped", html, "text/html", "utf-8"),
        _sample("text-en", "The report", plain, "text/plain", "us-ascii"),
        _sample("text-ja", "ご請求書のご案内", japanese, "text/plain", "iso-2022-jp"),
        _sample("text-zh", "账户通知", chinese, "text/plain", "gb18030"),
        _sample("html-ko", "결제 안내", korean, "text/html", "euc-kr"),
    ]


def _sample(name: str, title: str, body: str, kind: str, charset: str) -> Sample:
    subject = title if title.isascii() else Charset("utf-8").header_encode(title)
    head = (
        f"From: Shop <shop@sender.example>\nTo: reader@example.com\nSubject: {subject}\n"
        f"Message-ID: <{name}@sender.example>\nMIME-Version: 1.0\nContent-Type: {kind}; charset={charset}\n"
    )
    encoded = body.encode(charset)
    if charset in ("us-ascii", "iso-2022-jp"):
        return Sample(name, title, (head + "Content-Transfer-Encoding: 7bit\n\n").encode() + encoded)
    lines = b64encode(encoded).decode()
    folded = "\n".join(lines[place : place + 76] for place in range(0, len(lines), 76))
    return Sample(name, title, (head + f"Content-Transfer-Encoding: base64\n\n{folded}\n").encode())
