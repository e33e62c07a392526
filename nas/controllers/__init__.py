"""The contract of what proposes candidates, and the registry of such controllers."""

from nas.controllers.contract import CONTROLLERS as CONTROLLERS
from nas.controllers.contract import Codes as Codes
from nas.controllers.contract import Controller as Controller
from nas.controllers.contract import Problem as Problem
from nas.controllers.evolution import EvolutionController as EvolutionController
from nas.controllers.genetic import GeneticController as GeneticController
from nas.controllers.integer_programming import IntegerProgrammingController as IntegerProgrammingController
from nas.controllers.kd_nas import KdNasController as KdNasController
from nas.controllers.local import LocalController as LocalController
from nas.controllers.nsga2 import NsgaController as NsgaController
from nas.controllers.random import RandomController as RandomController
from nas.controllers.ridge import RidgeController as RidgeController
