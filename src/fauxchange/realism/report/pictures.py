"""Pictures: Matplotlib figures as SVG for pages and files, in colours that are read on light and on dark ground.

Every colour has a meaning and is told apart without its hue as well: recorded markets are drawn with solid lines,
generated ones with dashes. In a page colours become variables of its style, so that they follow its theme.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fauxchange.domain.errors import ConfigurationError
from fauxchange.realism.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL = "#1f5fbf"
MADE = "#c2410c"
INK = "#24292f"
FAINT = "#9aa1a9"
OTHERS = ("#1a7f5a", "#8250df", "#9a6700")

FORMATS = (".svg", ".png")
_VARIABLES = {
    REAL: "var(--real)",
    MADE: "var(--made)",
    INK: "currentColor",
    FAINT: "var(--faint)",
    OTHERS[0]: "var(--third)",
    OTHERS[1]: "var(--fourth)",
    OTHERS[2]: "var(--fifth)",
}
_STYLE: Any = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "fauxchange",
    "path.simplify_threshold": 0.3,
}
_FONTS = re.compile(r"font: ([\d.]+px) [^;\"]*")
_NAMES = re.compile(r'(\bid="|href="#|url\(#)')
_PREAMBLE = re.compile(r"<(?:!DOCTYPE|\?xml)[^>]*(?:\"[^\"]*\"[^>]*)*>\s*", re.DOTALL)
_PATHS = re.compile(r'\bd="[^"]*"|points="[^"]*"')
_DIGITS = re.compile(r"(\d\.\d\d)\d+")
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure: its name, its title, and how it is read.

    Ensures: the same figure gives the same SVG with the same Matplotlib, whenever it is drawn
    """

    name: str
    title: str
    caption: str
    figure: "Figure"

    def inline(self) -> str:
        """Return the SVG element for a page that defines the colours and labels the picture itself."""
        svg = _NAMES.sub(rf"\g<1>{self.name}-", self._svg(transparent=True))
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, variable)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{_plain(self.title)}" class="picture" ', 1)

    def file(self) -> str:
        """Return the SVG as a file of its own, on white ground."""
        return '<?xml version="1.0" encoding="utf-8"?>\n' + self._svg(transparent=False)

    def png(self, *, dpi: int = 160) -> bytes:
        """Return the picture in pixels, on white ground."""
        with _styled():
            buffer = io.BytesIO()
            self.figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()

    def _repr_png_(self) -> bytes:
        # What notebooks ask for.
        return self.png(dpi=90)

    def _svg(self, *, transparent: bool) -> str:
        with _styled():
            buffer = io.StringIO()
            ground: Any = "none" if transparent else "white"
            self.figure.savefig(buffer, format="svg", facecolor=ground, metadata={"Date": None, "Creator": None})
        svg = _METADATA.sub("", _PREAMBLE.sub("", buffer.getvalue()))
        # A hundredth of a point is finer than any screen.
        svg = _PATHS.sub(lambda path: _DIGITS.sub(r"\1", path[0]), svg)
        # Whoever opens it has other fonts than whoever drew it; letters stay letters.
        return _FONTS.sub(r"font: \1 system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif", svg)


def drawn(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Any], None],
    *,
    columns: int = 1,
    rows: int = 1,
    size: tuple[float, float] = (7.2, 3.4),
    **grid: Any,
) -> Picture:
    """Return a picture whose axes `draw` fills: one, or an array of them by row and column.

    Units:  size in inches
    Raises: ConfigurationError where Matplotlib is not installed
    """
    with _styled():
        from matplotlib.figure import Figure  # noqa: PLC0415 - of an extra, and heavy

        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(rows, columns, **grid))
    return Picture(name, title, caption, figure)


def save(picture: Picture, target: Path) -> None:
    """Write a picture as a file whose ending says what: `.svg` or `.png`.

    Ensures: the file is whole or, after a failure, as it was before
    Raises: ConfigurationError if it has another ending or cannot be written
    """
    if target.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"{target}: pictures are written as {' or '.join(FORMATS)}")
    content = picture.png() if target.suffix.lower() == ".png" else picture.file().encode()
    write_whole(target, content)


def label(axes: "Axes", *, x: str, y: str, title: str = "") -> None:
    """Name the axes, and the panel where there are several."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if title:
        axes.set_title(title)


def need_matplotlib() -> None:
    """Refuse early where plots are wanted and cannot be drawn. Raises: ConfigurationError."""
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - only to see whether it is there
    except ImportError as exc:
        raise ConfigurationError(
            "plots need Matplotlib, which is not installed: pip install 'fauxchange[realism]'"
        ) from exc


@contextmanager
def _styled() -> Iterator[None]:
    need_matplotlib()
    import matplotlib as mpl  # noqa: PLC0415 - of an extra, and heavy

    with mpl.rc_context(_STYLE):
        yield


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
