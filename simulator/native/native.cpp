// All of it in one translation unit, so that the compiler may inline; `shared.hpp`, made from Python's layouts, stands in front.
#include "access.hpp"
#include "atomics.hpp"
#include "copies.hpp"
#include "moves.hpp"
#include "scheduler.hpp"
