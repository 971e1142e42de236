"""The sections and figures of reports/study.md."""
