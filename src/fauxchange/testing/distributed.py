"""A venue as one process per service, which are killed, frozen and started again one by one."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fauxchange.testing.processes import VenueProcess, launch
from fauxchange.venue.services import SERVICES


class DistributedVenue:
    """The processes of a venue by the names of their services; each keeps its data folder and its settings."""

    def __init__(self, folder: Path, settings: Mapping[str, Mapping[str, str]]) -> None:
        self._folder = folder
        self._settings = settings
        self._processes: dict[str, VenueProcess] = {}

    def __getitem__(self, service: str) -> VenueProcess:
        """Return the process of a service; the last one, where it was started again."""
        return self._processes[service]

    def __iter__(self) -> Iterator[str]:
        return iter(self._processes)

    def launch(self, service: str) -> VenueProcess:
        """Start a service that does not run, and return its process without waiting for it."""
        process = launch(self._folder / service, self._settings[service], service=service)
        self._processes[service] = process
        return process

    def kill(self, service: str) -> None:
        """End a service without any grace."""
        self[service].kill()

    def restart(self, service: str) -> VenueProcess:
        """End a service without any grace and start it again; return its process once it is ready."""
        self.kill(service)
        process = self.launch(service)
        _ = process.venue
        return process

    def stop(self) -> dict[str, int]:
        """Stop all services gracefully, together, and return their exit codes; safe to call twice."""
        for process in self._processes.values():
            process.thaw()
        with ThreadPoolExecutor(len(self._processes) or 1) as threads:
            codes = dict(zip(self._processes, threads.map(VenueProcess.stop, self._processes.values()), strict=True))
        self._processes = {}
        return codes

    def kill_all(self) -> None:
        """End all that still run without any grace."""
        for process in self._processes.values():
            process.kill()


@contextmanager
def distributed(
    folder: Path, settings: Mapping[str, Mapping[str, str]], services: Sequence[str] = tuple(SERVICES)
) -> Iterator[DistributedVenue]:
    """Run a process for each service while the block lasts; it begins when all are ready.

    `settings` are those of each service, which say where stores and other services are.

    Raises: Unavailable, with what a process wrote, if it does not get ready
    """
    venue = DistributedVenue(folder, settings)
    try:
        for service in services:
            venue.launch(service)
        for service in services:
            _ = venue[service].venue
        yield venue
        venue.stop()
    finally:
        venue.kill_all()
