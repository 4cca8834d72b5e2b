"""What the tests' customers ask for, and the time they do it at."""

from gateway.jobs import (
    Claim,
    CreatedHead,
    HeadRecord,
    Idempotency,
    JobStore,
    NewHead,
    PhotoRecord,
    ProductRecord,
    photo_scope,
    request_digest,
)

OPTIONS = {"engine": "open", "formats": ["glb", "stl"], "size_mm": 120.5, "hair": None}


class SetClock:
    """Seconds since 1970 that stand still until they are moved."""

    def __init__(self, now: float = 1_700_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def photo(head_id: str, number: int = 0) -> PhotoRecord:
    digest = f"{number:064x}"
    return PhotoRecord(f"me {number}.jpg", f"{photo_scope(head_id)}/{digest}", 1000 + number, digest, "image/jpeg")


def product(name: str, number: int = 0) -> ProductRecord:
    digest = f"{number:064x}"
    return ProductRecord(name, f"heads/head_x/{digest}", 100 + number, digest, "model/gltf-binary")


async def ask(
    jobs: JobStore,
    owner: str = "anna",
    *,
    key: str | None = None,
    digest: str | None = None,
    photos: int = 1,
    priority: int = 0,
    quota: int | None = None,
    name: str = "",
) -> CreatedHead:
    """Reserve, upload (as it were) and ask for a head."""
    head_id = await jobs.reserve(owner)
    pictures = tuple(photo(head_id, i) for i in range(photos))
    idempotency = None if key is None else Idempotency(key, digest or request_digest(name, OPTIONS, pictures))
    new = NewHead(head_id, name, OPTIONS, pictures, idempotency, priority, quota)
    return await jobs.create_head(owner, new)


async def ask_head(jobs: JobStore, owner: str = "anna", *, priority: int = 0) -> HeadRecord:
    return (await ask(jobs, owner, priority=priority)).head


async def take(jobs: JobStore, worker: str = "worker") -> Claim:
    """The next job, which there is."""
    claim = await jobs.claim(worker)
    assert claim is not None
    return claim


async def ask_done(jobs: JobStore, owner: str = "anna", *products: ProductRecord) -> HeadRecord:
    """A head that is done, and its files."""
    head = await ask_head(jobs, owner)
    claim = await take(jobs)
    assert claim.head.id == head.id
    await jobs.advance(claim.lease, products=products)
    await jobs.finish(claim.lease)
    return await jobs.get_head(owner, head.id)
