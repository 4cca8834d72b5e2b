from types import ModuleType

import maquette
from maquette import errors


def test_the_public_surface_is_what_all_says() -> None:
    public = {n for n, v in vars(maquette).items() if not n.startswith("_") and not isinstance(v, ModuleType)}
    assert public == set(maquette.__all__)
    assert list(maquette.__all__) == sorted(maquette.__all__)


def test_every_error_of_the_tree_can_be_imported_from_the_package() -> None:
    tree = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, errors.MaquetteError)}
    assert tree <= set(maquette.__all__)
