"""
A sheet as one HTML file that stands alone: pictures are in it, and no script; nothing is fetched from anywhere.

It is written a picture at a time, so that a long one takes no more memory than a short one.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from html import escape

from rembg_watch.showing.contents import Contents, Entry, LeftOut, Style, below, subtitle
from rembg_watch.showing.pairs import Pair, Side

_CSS = """
:root {
  color-scheme: light dark;
  --bg: #f5f5f2; --card: #fff; --ink: #1b1b1f; --faint: #62626a; --line: #e2e2dd; --empty: #ededea;
  --good: #146c43; --bad: #b3261e;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --bg: #131315; --card: #1c1c1f; --ink: #ececef; --faint: #a2a2ab; --line: #303035; --empty: #29292d;
    --good: #6ad8a2; --bad: #ff9d95;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1480px; padding: 28px clamp(12px, 3vw, 36px) 48px; overflow-wrap: anywhere;
  background: var(--bg); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif;
}
h1 { margin: 0; font-size: 1.7rem; line-height: 1.25; letter-spacing: -0.01em; }
h2 { margin: 32px 0 8px; font-size: 1.1rem; }
header p { margin: 4px 0 20px; color: var(--faint); }
ul { list-style: none; margin: 0; padding: 0; }
.wall { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); gap: 16px; }
.wall li, .left li { break-inside: avoid; }
figure { margin: 0; padding: 10px; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.side {
  display: grid; place-items: center; aspect-ratio: 1; overflow: hidden; border-radius: 6px;
  background: var(--empty); -webkit-print-color-adjust: exact; print-color-adjust: exact;
}
.side img { display: block; width: 100%; height: 100%; object-fit: contain; }
.checks { background: conic-gradient(#dcdce0 25%, #fff 0 50%, #dcdce0 0 75%, #fff 0) 0 0 / 16px 16px; }
.white { background: #fff; box-shadow: inset 0 0 0 1px var(--line); }
.none { padding: 12px; color: var(--faint); font-size: 0.85rem; text-align: center; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 12px; margin-top: 8px; }
figcaption { font-size: 0.9rem; }
figcaption span, .left span { color: var(--faint); }
figcaption .approved { color: var(--good); }
figcaption .rejected { color: var(--bad); }
.left li { padding: 8px 0; border-top: 1px solid var(--line); }
@page { margin: 12mm; }
@media print {
  :root { color-scheme: light; }
  body { padding: 0; max-width: none; background: none; font-size: 11pt; }
  .wall { grid-template-columns: 1fr 1fr; gap: 4mm; }
  figure { padding: 2mm; border-radius: 2mm; }
}
""".strip()

_HEAD = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
)


def html(contents: Contents, pairs: Iterable[Pair], style: Style) -> Iterator[bytes]:
    """
    Yield a sheet in pieces.

    Args:
        contents: What it shows.
        pairs: The views of its pictures, in their order.
        style: How it looks.
    """
    title = escape(contents.title)
    yield (
        f"{_HEAD}<title>{title}</title>\n<style>\n{_CSS}\n</style>\n</head>\n<body>\n"
        f'<header>\n<h1 dir="auto">{title}</h1>\n'
        f'<p>{escape(subtitle(contents, style))}</p>\n</header>\n<main>\n<ul class="wall">\n'
    ).encode()
    for entry, pair in zip(contents.entries, pairs, strict=True):
        yield _figure(entry, pair, style)
    yield f"</ul>\n{_left_out(contents.left_out)}</main>\n</body>\n</html>\n".encode()


def _figure(entry: Entry, pair: Pair, style: Style) -> bytes:
    name, ground = escape(entry.caption), "white" if style.is_white else "checks"
    before = _side(pair.before, f"{name}, the original", "side")
    after = _side(pair.after, f"{name}, cut out", f"side {ground}")
    beside = "".join(
        f'<span class="{escape(word)}">{escape(word)}</span>'
        if word == entry.verdict
        else f"<span>{escape(word)}</span>"
        for word in below(entry, style)
    )
    return (
        f'<li><figure><div class="pair">{before}{after}</div>'
        f"<figcaption><bdi>{name}</bdi>{beside}</figcaption></figure></li>\n"
    ).encode()


def _side(side: Side, alt: str, name: str) -> str:
    if not side.content:
        return f'<div class="side none"><p>{escape(side.why_not)}</p></div>'
    data = b64encode(side.content).decode("ascii")
    return f'<div class="{name}"><img alt="{alt}" src="data:{side.kind};base64,{data}"></div>'


def _left_out(some: Iterable[LeftOut]) -> str:
    rows = "".join(f"<li><bdi>{escape(one.caption)}</bdi><br><span>{escape(one.reason)}</span></li>\n" for one in some)
    return f'<h2>Not cut out</h2>\n<ul class="left">\n{rows}</ul>\n' if rows else ""
