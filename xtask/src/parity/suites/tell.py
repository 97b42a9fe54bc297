"""A plugin of pytest: writes how each test ended to the file that SUITE_REPORT names."""

import json
import os

outcomes = {}


def pytest_runtest_logreport(report):
    # Set-up and tear-down count only where they fail.
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish(session):
    with open(os.environ["SUITE_REPORT"], "w", encoding="utf-8") as file:
        json.dump(outcomes, file, sort_keys=True)
