"""What is refused before it is drawn. Nothing here may be drawn: most of it would take minutes."""

import contextlib

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.svg_bounds import MAX_DEPTH, TooCostlyError, check

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def drawing(inside: str, attributes: str = 'width="64" height="64"') -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" {XLINK} {attributes}>{inside}</svg>'


def doubling(link: str, levels: int = 25) -> str:
    """Return groups that each refer twice to the one before."""
    groups = "".join(f'<g id="g{n}">{link.format(n - 1) * 2}</g>' for n in range(1, levels))
    return '<g id="g0"><rect width="1" height="1"/></g>' + groups


def nested_paint(kind: str, link: str, levels: int = 25) -> str:
    """Return patterns, masks ... whose content is painted twice with the one before."""
    content = '<rect width="9" height="9" ' + link + "/>"
    return f'<{kind} id="p0"><rect width="9" height="9"/></{kind}>' + "".join(
        f'<{kind} id="p{n}">{content.format(n - 1) * 2}</{kind}>' for n in range(1, levels)
    )


BOMBS = {
    "use": doubling('<use href="#g{}"/>'),
    "use by xlink": doubling('<use xlink:href="#g{}"/>'),
    "pattern": nested_paint("pattern", 'fill="url(#p{})"') + '<rect fill="url(#p24)"/>',
    "mask": nested_paint("mask", 'mask="url(#p{})"') + '<rect mask="url(#p24)"/>',
    "clip": nested_paint("clipPath", 'clip-path="url(#p{})"') + '<rect clip-path="url(#p24)"/>',
    "by style": nested_paint("pattern", 'style="fill:url(#p{})"') + '<rect style="fill:url(#p24)"/>',
    "marker": '<marker id="m">' + "<rect/>" * 100 + "</marker>"
    '<polyline marker-mid="url(#m)" points="' + "1 1 " * 5000 + '"/>',
    "marker by sheet": '<style>polyline{marker-mid:url(#m)}</style><marker id="m">' + "<rect/>" * 100 + "</marker>"
    '<polyline points="' + "1 1 " * 5000 + '"/>',
    "handed down": '<pattern id="p">' + "<rect/>" * 200 + '</pattern><g fill="url(#p)">' + "<rect/>" * 400 + "</g>",
    "gradients": '<linearGradient id="g">'
    + "<stop/>" * 3000
    + "</linearGradient>"
    + '<rect width="9" height="9" fill="url(#g)"/>' * 500,
    "gradient chain": "".join(f'<linearGradient id="g{n}" href="#g{n + 1}"/>' for n in range(90))
    + '<rect width="9" height="9" fill="url(#g0)"/>' * 500,
    "itself": '<g id="a"><use href="#a"/></g>',
    "each other": '<pattern id="a"><rect fill="url(#b)"/></pattern><pattern id="b"><rect fill="url(#a)"/></pattern>',
    "deep": "<g>" * MAX_DEPTH + "</g>" * MAX_DEPTH,
    "dashes": '<path stroke-dasharray=".05" d="M0 0' + "L64 64L0 0" * 4000 + '"/>',
    "dashes by style": '<circle r="1e7" style="stroke-dasharray:.1"/>',
    "dashes by sheet": '<style>circle{stroke-dasharray: .1 .1}</style><circle r="1e7"/>',
    "arcs": '<path d="M0 0' + "a1e9 1e9 0 1 0 1 1" * 2700 + '"/>',
    "a few huge arcs": '<path d="M0 0' + "a1e9 1e9 0 1 0 1 1" * 25 + '"/>',
    "huge circles": '<circle r="1e15" stroke="red"/>' * 1000,
    "scaled": '<g transform="scale(1e6)"><g transform="scale(1e6)">' + '<circle r="9"/>' * 100 + "</g></g>",
    "letters": "<text>" + "abc " * 12_000 + "</text>",
    "attributes": "<g " + " ".join(f'a{n}="1"' for n in range(3000)) + ">" + "<a/>" * 3000 + "</g>",
    "selectors": "<style>" + "* * * * * rect{fill:red} " * 900 + "</style>" + "<g>" * 9 + "<rect/>" * 400 + "</g>" * 9,
    "selectors with :has": "<style>" + ":has(b){fill:red} " * 900 + "</style>" + "<rect/>" * 1500,
    "url( url(": '<rect fill="' + "url(" * 12_000 + '"/>',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str):
    with pytest.raises(TooCostlyError):
        check(fromstring(drawing(BOMBS[name])), 336)


@pytest.mark.parametrize("attributes", ['viewBox="0 0 1e-9 1e-9"', 'width="1e-9" height="1e-9"'])
def test_a_tiny_view_is_a_huge_picture(attributes: str):
    with pytest.raises(TooCostlyError):
        check(fromstring(drawing('<circle r="1"/>' * 10, attributes)), 336)


HONEST = {
    "a map": '<path fill="none" stroke-dasharray="4 2" d="M0 0' + "l3 4 5 -2" * 300 + '"/>',
    "an icon sheet": '<symbol id="i" viewBox="0 0 24 24"><path d="M2 2h20v20H2z"/></symbol>'
    + '<use href="#i" x="3" width="9" height="9"/>' * 200,
    "shaded": '<linearGradient id="g"><stop offset="0"/><stop offset="1"/></linearGradient><g fill="url(#g)">'
    + '<rect width="9" height="9"/>' * 300
    + "</g>",
    "styled": "<style>"
    + ".a .b{fill:red} .c:not(.d){stroke:blue}" * 20
    + "</style>"
    + '<g class="a"><rect/></g>' * 100,
    "a chart": '<text x="1" y="2" font-size="9">Revenue, in millions</text>' * 60,
    "an arrow": '<marker id="m" markerWidth="9"><path d="M0 0L9 5 0 9z"/></marker><line marker-end="url(#m)" x2="9"/>',
    "a large view": '<circle cx="5e8" cy="5e8" r="5e8"/>',
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_drawings_are_not_refused(name: str):
    attributes = 'viewBox="0 0 1e9 1e9"' if name == "a large view" else 'width="64" height="64"'
    check(fromstring(drawing(HONEST[name], attributes)), 336)


@given(st.text(st.sampled_from('#ab()"; :{}.1e-')), st.sampled_from(["fill", "style", "d", "transform", "viewBox"]))
def test_any_attribute_can_be_surveyed(value: str, name: str):
    root = fromstring(drawing('<g id="a"><rect/></g>'))
    root[0][0].set(name, value)
    with contextlib.suppress(TooCostlyError, ArithmeticError):
        check(root, 336)
