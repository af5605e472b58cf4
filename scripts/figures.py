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

import numpy as np

from sam2_core.calibration import Calibration, plot_calibration
from sam2_core.datasets import find_sequences
from sam2_core.evaluation import PROMPTS, read_frame
from sam2_core.evaluation_record import read_results
from sam2_core.masks import save_mask_png

TITLES = {"mask": "first frame's mask", "box": "its box", "point": "one click", "cuts": "mask, then a cut"}
AGAINST = {"box": ("--against", "csrt")}  # CSRT starts from the box, too
TINY = ("--model", "sam2.1_hiera_tiny", "--untrained", "--objects", "1", "--frames", "3")
"""The original's smallest architecture; speed does not depend on the weights."""

SPEED = (
    ("--model", "sam2_nano", "--objects", "1,4", "--threads", "2", "--trunk"),
    (*TINY, "--image-size", "512"),
    (*TINY, "--image-size", "1024"),
)


def sam2(*arguments: str) -> str:
    """Runs the command, shows its progress and returns what it printed."""
    print("$ sam2", *arguments, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "sam2_core.cli", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def evaluate(
    data: Path, masks: Path, prompt: str, options: list[str], against: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Evaluates one kind of prompt; the contact sheet lies beside the masks."""
    shutil.rmtree(masks, ignore_errors=True)  # an earlier version of the code may have made them
    arguments = ("evaluate", str(data), "--prompt", prompt, *options, "--save-masks", str(masks))
    sheet = ("--contact-sheet", str(masks.with_name(f"contact_sheet_{masks.name}.png")))
    return json.loads(sam2(*arguments, *sheet, *against, "--json", "-"))


def write_cuts(data: Path, folder: Path) -> None:
    """Videos that are cut to another scene: ten images of each sequence, then twenty of the next one.

    The object is in every image of the sequences themselves; here it is gone for good.
    """
    shutil.rmtree(folder, ignore_errors=True)
    sequences = find_sequences(data)
    for one, other in zip(sequences, [*sequences[1:], sequences[0]], strict=True):
        frames, masks = (folder / part / one.name for part in ("JPEGImages", "Annotations"))
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        shown = one.frames[:10]
        for index, path in enumerate([*shown, *other.frames[:20]]):
            (frames / f"{index:05d}{path.suffix}").symlink_to(path.resolve())
            true = (
                one.masks(path.stem)[1] if index < len(shown) else np.zeros(read_frame(path).shape[:2], bool)
            )
            save_mask_png(masks / f"{index:05d}.png", true)


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
    figures = {title: one.figures() for title, one in groups.items()}
    lines = [f"| | {' | '.join(figures)} |", "|---" * (1 + len(figures)) + "|"]
    for name in next(iter(figures.values())):
        digits = 0 if name.startswith("frames") else 2 if name.startswith("mean presence") else 1
        cells = [f"{one[name]:.{digits}f}".replace("nan", "-") for one in figures.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibration(masks: Path) -> Calibration:
    """From the record beside the masks."""
    return Calibration.of(outcome for result in read_results(masks) for outcome in result.outcomes)


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
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Further options, such as --checkpoint FILE, go to sam2 evaluate.",
    )
    parser.add_argument("data", type=Path, help="the folder that holds davis2016-dev")
    parser.add_argument("--page", type=Path, default=Path("docs/nano.md"), help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("out/figures"), help="default: %(default)s")
    parser.add_argument("--without-speed", action="store_true", help="leave the benchmarks out")
    given, options = parser.parse_known_args()
    data, output = given.data / "davis2016-dev", given.output
    reports = {
        prompt: evaluate(data, output / prompt, prompt, options, AGAINST.get(prompt, ()))
        for prompt in PROMPTS
    }
    write_cuts(data, output / "cut_videos")
    evaluate(output / "cut_videos", output / "cuts", "mask", options)
    groups = {TITLES[name]: calibration(output / name) for name in (*PROMPTS, "cuts")}
    plot_calibration(given.page.parent / "calibration.png", groups)
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
