"""What this machine is doing, by the names under which MLflow's page shows it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_MB = 1e6


class MachineMeter:
    """Measures the machine since the last look.

    Args:
        folder: whose disk is looked at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._network = psutil.net_io_counters()
        psutil.cpu_percent()  # the first call only begins to count

    def read(self) -> dict[str, float]:
        """Return values by name: shares in percent, sizes in megabytes, network since the last look."""
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
        before, self._network = self._network, psutil.net_io_counters()
        values = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": memory.percent,
            "disk_usage_megabytes": disk.used / _MB,
            "disk_available_megabytes": disk.free / _MB,
            "disk_usage_percentage": disk.percent,
            "network_receive_megabytes": (self._network.bytes_recv - before.bytes_recv) / _MB,
            "network_transmit_megabytes": (self._network.bytes_sent - before.bytes_sent) / _MB,
            **_gpus(),
        }
        return {f"system/{name}": value for name, value in values.items()}


def _gpus() -> dict[str, float]:
    import torch

    values = {}
    for number in range(torch.cuda.device_count()):
        free, whole = torch.cuda.mem_get_info(number)
        values[f"gpu_{number}_memory_usage_megabytes"] = (whole - free) / _MB
        values[f"gpu_{number}_memory_usage_percentage"] = 100 * (whole - free) / whole
        # How busy it is, only NVIDIA's own library tells, which may not be there.
        with contextlib.suppress(ModuleNotFoundError, RuntimeError):
            values[f"gpu_{number}_utilization_percentage"] = float(torch.cuda.utilization(number))
    return values
