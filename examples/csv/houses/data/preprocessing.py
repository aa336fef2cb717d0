"""Makes the tables: three CSV files with one header."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from houses.settings import Settings


def download(settings: Settings) -> None:
    """Write what a user would download: 900 houses, their addresses in quotes."""
    random = np.random.default_rng(0)
    folder = Path(settings.data.folder) / "houses"
    folder.mkdir(parents=True, exist_ok=True)
    for year in (2021, 2022, 2023):
        with open(folder / f"{year}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["address", "area", "rooms", "age", "price"])
            for number in range(300):
                area, rooms, age = random.uniform(40, 200), random.integers(1, 8), random.integers(0, 100)
                price = 2 * area + 15 * rooms - 0.8 * age + random.normal(0, 5)
                address = f"{number} Main Street\nTown {year % 10}"
                writer.writerow([address, round(area, 1), rooms, age, round(price, 2)])
