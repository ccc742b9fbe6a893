"""The report: one self-contained HTML page about what earlier commands wrote."""

from ovrl.eval.report.page import build_report, build_view

__all__ = ["build_report", "build_view"]
