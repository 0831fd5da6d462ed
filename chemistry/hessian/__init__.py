"""Molecular Hessians by products, their vibrations, and what follows. Foreign molecules: in a `Guard`."""

from chemistry.hessian.forces import Forces, Minimum, minimize
from chemistry.hessian.isotopes import isotope_masses
from chemistry.hessian.mmff import mmff_forces
from chemistry.hessian.modes import (
    VibrationalHessian,
    hessian,
    hessian_products,
    product_rule,
    rigid_modes,
    vibrational,
)
from chemistry.hessian.molecule import EnergyModel, MolecularHessian, forces_of, molecular_hessian
from chemistry.hessian.xtb import xtb_available, xtb_forces

__all__ = [
    "EnergyModel",
    "Forces",
    "Minimum",
    "MolecularHessian",
    "VibrationalHessian",
    "forces_of",
    "hessian",
    "hessian_products",
    "isotope_masses",
    "minimize",
    "mmff_forces",
    "molecular_hessian",
    "product_rule",
    "rigid_modes",
    "vibrational",
    "xtb_available",
    "xtb_forces",
]
