# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The measured figures, by program, case, subject and quantity."""


class Figures:
    def __init__(self, programs):
        self.programs = programs
        self.index = {
            (program, figure["case"], figure["subject"], figure["quantity"]): figure
            for program, result in programs.items()
            for figure in result["figures"]
        }

    def has(self, program):
        return program in self.programs

    def machine(self, program):
        return self.programs[program]["machine"]

    def cases(self, program):
        return list(dict.fromkeys(figure["case"] for figure in self.programs[program]["figures"]))

    def subjects(self, program, case=None):
        figures = self.programs[program]["figures"]
        return list(dict.fromkeys(f["subject"] for f in figures if case in (None, f["case"])))

    def get(self, program, case, subject, quantity="time"):
        """The figure; None if the subject did not finish; an error if a figure is missing."""
        figure = self.index.get((program, case, subject, quantity))
        if figure is None and not self.is_unfinished(program, case, subject):
            raise KeyError(f"{program}: no {quantity} of {subject} in {case}")
        return figure

    def median(self, program, case, subject, quantity="time"):
        figure = self.get(program, case, subject, quantity)
        return None if figure is None else figure["median"]

    def is_unfinished(self, program, case, subject):
        return any(u["case"] == case and u["subject"] == subject for u in self.programs[program]["unfinished"])

    def get_spread(self, program):
        """The spread of the middle half of the samples, for the typical figure of the program."""
        spreads = []
        for figure in self.programs[program]["figures"]:
            samples = sorted(figure["samples"])
            if figure["median"] > 0 and len(samples) > 3:
                quarter = len(samples) // 4
                spreads.append((samples[-1 - quarter] - samples[quarter]) / figure["median"])
        return sorted(spreads)[len(spreads) // 2] if spreads else None
