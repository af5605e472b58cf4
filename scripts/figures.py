"""Makes every figure of docs/nano.md anew, in one go: `make figures`.

Runs the commands that a person would run, one after another (about six minutes on two cores that do nothing
else; frames per second mean something only then). Tables go to standard output and into the page, between
the marks `<!-- figures: NAME -->` and `<!-- end -->`; the plot beside it as calibration.png. Contact sheets
stay in the output folder: the sequences' pictures are not ours to publish.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sam2_core.calibration import Calibration, plot_calibration
from sam2_core.evaluation import PROMPTS
from sam2_core.evaluation_record import read_results

TITLES = {"mask": "first frame's mask", "box": "its box", "point": "one click"}
TINY = ("--model", "sam2.1_hiera_tiny", "--untrained", "--objects", "1", "--frames", "3", "--warm-up", "7")
"""The original's smallest architecture; speed does not depend on the weights. After seven images its memory
of masks is full."""

SPEED = (
    ("--model", "sam2_nano", "--objects", "1", "4"),
    (*TINY, "--image-size", "512"),
    (*TINY, "--image-size", "1024"),
)


def sam2(*arguments: str) -> str:
    """Runs the command, shows its progress and returns what it printed."""
    print("$ sam2", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "sam2_core.cli", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def evaluate(data: Path, output: Path, prompt: str, options: tuple[str, ...]) -> dict[str, Any]:
    """Evaluates one kind of prompt; CSRT runs beside the one that starts from a box, as CSRT does."""
    masks = output / prompt
    shutil.rmtree(masks, ignore_errors=True)  # an earlier version of the code may have made them
    arguments = ("evaluate", str(data), "--prompt", prompt, *options, "--save-masks", str(masks))
    sheet = ("--contact-sheet", str(output / f"contact_sheet_{prompt}.png"))
    against = ("--against", "csrt") if prompt == "box" else ()
    return json.loads(sam2(*arguments, *sheet, *against, "--json", "-"))


def results_table(reports: dict[str, dict[str, Any]]) -> str:
    """J&F per sequence, a row per prompt."""
    names = list(reports["mask"]["sequences"])
    lines = [f"| prompt | J&F | J | F | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for prompt, report in reports.items():
        overall = " | ".join(f"{report['overall'][key]:.1f}" for key in ("J&F", "J", "F"))
        each = " | ".join(f"{report['sequences'][name]['J&F']:.1f}" for name in names)
        lines.append(f"| {TITLES[prompt]} | {overall} | {each} |")
    return "\n".join(lines)


def baseline_table(report: dict[str, Any]) -> str:
    """IoU of boxes, and frames per second, of ours and of CSRT."""
    names = list(report["sequences"])
    rows = [*report["sequences"].values(), report["overall"]]
    lines = [f"| | {' | '.join(names)} | all | frames/s |", "|---" * (3 + len(names)) + "|"]
    for title, own in (("box around sam2_nano's mask", True), ("CSRT", False)):
        cells = [f"{(row['box'] if own else row['csrt']['box']):.1f}" for row in rows]
        fps = report["overall"]["fps"] if own else report["overall"]["csrt"]["fps"]
        lines.append(f"| {title} | {' | '.join(cells)} | {fps:.1f} |")
    return "\n".join(lines)


def calibration_table(groups: dict[str, Calibration]) -> str:
    """What the plot shows, in numbers."""
    figures = {prompt: calibration.figures() for prompt, calibration in groups.items()}
    lines = [f"| | {' | '.join(TITLES[prompt] for prompt in figures)} |", "|---" * (1 + len(figures)) + "|"]
    for name in next(iter(figures.values())):
        digits = 0 if name.startswith("frames") else 2 if name.startswith("mean presence") else 1
        cells = [f"{one[name]:.{digits}f}".replace("nan", "-") for one in figures.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibrations(output: Path) -> dict[str, Calibration]:
    """Per prompt, from the records beside the masks."""
    groups = {}
    for prompt in PROMPTS:
        results = read_results(output / prompt)
        groups[prompt] = Calibration.of(outcome for result in results for outcome in result.outcomes)
    return groups


def write_into(page: Path, blocks: dict[str, str]) -> None:
    """Replaces what stands between each block's marks.

    Raises:
        ValueError: the page has no such marks.
    """
    text = page.read_text()
    for name, block in blocks.items():
        before, begin, rest = text.partition(f"<!-- figures: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"{page}: has no block <!-- figures: {name} --> ... <!-- end -->")
        text = before + begin + block + "\n" + end + after
    page.write_text(text)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder that holds davis2016-dev")
    parser.add_argument("--page", type=Path, default=Path("docs/nano.md"), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("out/figures"), help="default: %(default)s")
    parser.add_argument("--without-speed", action="store_true", help="leave the benchmarks out")
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="for sam2 evaluate: --checkpoint ...")
    given = parser.parse_args()
    data, output = given.data / "davis2016-dev", given.output
    reports = {prompt: evaluate(data, output, prompt, tuple(given.options)) for prompt in PROMPTS}
    groups = calibrations(output)
    plot_calibration(
        given.page.parent / "calibration.png", {TITLES[prompt]: one for prompt, one in groups.items()}
    )
    blocks = {
        "results": results_table(reports),
        "baseline": baseline_table(reports["box"]),
        "calibration": calibration_table(groups),
    }
    if not given.without_speed:
        tables = [sam2("benchmark", *arguments) for arguments in SPEED]
        blocks["speed"] = "```\n" + "\n\n".join(tables) + "\n```"
    write_into(given.page, blocks)
    print("\n\n".join(f"{name}:\n\n{block}" for name, block in blocks.items()))


if __name__ == "__main__":
    main()
