"""Bars on a logarithmic scale as SVG, for README: no library needed."""
import math
from xml.sax.saxutils import escape

INK, GRID = "#444", "#ddd"
COLOURS = ["#2a78b8", "#d98032", "#8a8a8a", "#5b9a55"]
LEFT, BAR, GAP, WIDTH, LABEL = 150, 16, 14, 760, 90


def bars(path, panels, subjects, caption):
    """panels: [(title, [(group, {subject: value})], text of a value)], one below the other."""
    y, body = 30, []
    body.append(legend(subjects))
    for title, groups, show in panels:
        part, y = panel(title, groups, subjects, show, y + 34)
        body += part
    height = y + 26
    body.append(text(10, height - 8, caption, 11, "#777"))
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">\n'
                '<rect width="100%%" height="100%%" fill="#fff"/>\n%s\n</svg>\n' % (WIDTH, height, "\n".join(body)))


def text(x, y, words, size=12, colour=INK, anchor="start"):
    return '<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s">%s</text>' % (
        x, y, size, colour, anchor, escape(words))


def legend(subjects):
    out, x = [], LEFT
    for n, name in enumerate(subjects):
        out.append('<rect x="%d" y="12" width="12" height="12" fill="%s"/>' % (x, COLOURS[n]))
        out.append(text(x + 17, 22, name))
        x += 40 + 8 * len(name)
    return "\n".join(out)


def panel(title, groups, subjects, show, y):
    values = [v for _, of in groups for v in of.values() if v]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    span = WIDTH - LEFT - LABEL
    place = lambda v: LEFT + span * math.log10(v / low) / math.log10(high / low)
    out, top = [text(10, y, title, 13, "#000")], y + 12
    y = top + 6
    for group, of in groups:
        out.append(text(LEFT - 8, y + BAR * len(of) / 2 + 4, group, 12, INK, "end"))
        for name in [n for n in subjects if of.get(n)]:
            end = place(max(of[name], low * 1.02))
            out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>' % (
                LEFT, y, end - LEFT, BAR - 2, COLOURS[subjects.index(name)]))
            out.append(text(end + 5, y + BAR - 5, show(of[name]), 11))
            y += BAR
        y += GAP
    grid = []
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        x = place(10.0 ** power)
        grid.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>' % (x, top, x, y - GAP / 2, GRID))
    return grid + out, y - GAP + 4
