"""Hosts that many owners share: free hosting, dynamic DNS, shorteners. A table; knows nothing else.

A popular name says nothing about the page behind it there. Sources: the providers' own documents and the private section of
the public suffix list, 2026.
"""

from __future__ import annotations

FREE_HOSTING = frozenset(
    {
        "000webhostapp.com", "appspot.com", "azurestaticapps.net", "azurewebsites.net", "backblazeb2.com", "blogspot.com",
        "cloudfront.net", "codesandbox.io", "firebaseapp.com", "fly.dev", "framer.app", "ghost.io", "github.io", "gitlab.io",
        "glitch.me", "godaddysites.com", "herokuapp.com", "ipfs.io", "myshopify.com", "netlify.app", "ngrok-free.app",
        "ngrok.io", "notion.site", "onrender.com", "pages.dev", "r2.dev", "railway.app", "replit.app", "repl.co",
        "sharepoint.com", "square.site", "squarespace.com", "surge.sh", "tistory.com", "translate.goog", "trycloudflare.com",
        "typeform.com", "vercel.app", "web.app", "webflow.io", "weebly.com", "weeblysite.com", "windows.net", "wixsite.com",
        "wixstudio.io", "wordpress.com", "workers.dev", "yolasite.com", "zapier.app",
    }
)  # fmt: skip

DYNAMIC_DNS = frozenset(
    {
        "ddns.net", "duckdns.org", "dyndns.org", "dynu.net", "freeddns.org", "hopto.org", "myddns.me", "myftp.org",
        "no-ip.org", "nsupdate.info", "serveo.net", "sytes.net", "zapto.org",
    }
)  # fmt: skip

SHORTENERS = frozenset(
    {
        "amzn.to", "bit.ly", "bl.ink", "buff.ly", "cutt.ly", "fb.me", "goo.gl", "goo.su", "is.gd", "lnkd.in", "n9.cl",
        "ow.ly", "qr.ae", "qrco.de", "rb.gy", "rebrand.ly", "s.id", "shorturl.at", "t.co", "t.ly", "t2m.io", "tiny.cc",
        "tinyurl.com", "u.to", "urlz.fr", "v.gd", "wa.me", "x.gd", "youtu.be", "lin.ee", "me2.kr", "bit.do", "reurl.cc",
    }
)  # fmt: skip

TOP_SITES = frozenset(
    {
        "adobe.com", "akamai.net", "akamaized.net", "amazon.co.jp", "amazon.com", "amazon.de", "amazonaws.com",
        "apple.com", "baidu.com", "bing.com", "booking.com", "box.com", "cloudflare.com", "docusign.com",
        "docusign.net", "dropbox.com", "ebay.com", "facebook.com", "github.com", "google.co.jp", "google.com",
        "google.de", "googleapis.com", "gstatic.com", "icloud.com", "instagram.com", "linkedin.com", "live.com",
        "mail.ru", "microsoft.com", "microsoftonline.com", "mozilla.org", "naver.com", "netflix.com", "office.com",
        "office365.com", "outlook.com", "paypal.com", "pinterest.com", "qq.com", "rakuten.co.jp", "reddit.com",
        "salesforce.com", "slack.com", "spotify.com", "taobao.com", "tiktok.com", "twitter.com", "vimeo.com",
        "whatsapp.com", "wikipedia.org", "x.com", "yahoo.co.jp", "yahoo.com", "yandex.ru", "youtube.com", "zoom.us",
    }
)  # fmt: skip
"""Sites that everybody visits: an object for a whole one deserves a second thought. `[reputation] popularity` adds to them."""

SHARED_HOSTING = FREE_HOSTING | DYNAMIC_DNS
"""What the sign `free_hosting` speaks of."""
SHARED = SHARED_HOSTING | SHORTENERS


def is_shared(host: str) -> bool:
    """Free hosting, dynamic DNS or a shortener, by label."""
    tail = host.rstrip(".")
    while tail:
        if tail in SHARED:
            return True
        tail = tail.partition(".")[2]
    return False
