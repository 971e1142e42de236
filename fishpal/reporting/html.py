"""The report's Markdown as HTML: one line of text, or a table that sorts."""

import html
import re

from markupsafe import Markup

INSIDE = r"((?:\\.|[^\\])+?)"  # an escaped star ends nothing
STARS = "|".join(rf"\*{{{n}}}{INSIDE}\*{{{n}}}" for n in (3, 2, 1))
MARKDOWN = re.compile(rf"\\(.)|`([^`]*)`|{STARS}", re.S)
NUMBER = re.compile(r"([-+]?\d[\d,]*(?:\.\d+)?)(?: ([KM])\b)?")
UNITS = {None: 1.0, "K": 1e3, "M": 1e6}
LONG = 28  # characters of a cell that may be broken into lines


def as_html(markdown: str) -> Markup:
    """One line of the report's Markdown: code, bold, italic, and escaped characters.

    Whatever else it holds stays text, so that nothing in it can become a tag.
    """
    parts, end = [], 0
    for found in MARKDOWN.finditer(markdown):
        parts.append(_text(markdown[end : found.start()]))
        end = found.end()
        literal, name, both, bold, italic = found.groups()
        if literal is not None:
            parts.append(html.escape(literal))
        elif name is not None:
            parts.append(f"<code>{_text(name)}</code>")
        elif both is not None:
            parts.append(f"<strong><em>{as_html(both)}</em></strong>")
        else:
            tag = "strong" if bold is not None else "em"
            parts.append(f"<{tag}>{as_html(bold or italic)}</{tag}>")
    return Markup("".join([*parts, _text(markdown[end:])]))


def _text(text: str) -> str:
    return html.escape(html.unescape(text))


def html_table(markdown: str) -> Markup:
    """A table of the report's, its cells with the numbers that they sort by."""
    lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in markdown.splitlines()]
    header, _, *rows = [[cell.strip() for cell in line] for line in lines]
    heads = "".join(f"<th><button>{as_html(cell)}</button></th>" for cell in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return Markup(
        f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def _cell(markdown: str) -> str:
    value = sort_value(markdown)
    data = "" if value is None else f' data-value="{value:.12g}"'
    data += ' class="long"' if len(markdown) > LONG else ""
    return f"<td{data}>{as_html(markdown)}</td>"


def sort_value(cell: str) -> float | None:
    """The number that a cell begins with, its unit K or M taken in; None where there is none."""
    found = NUMBER.match(cell.lstrip("*"))
    return float(found[1].replace(",", "")) * UNITS[found[2]] if found else None
