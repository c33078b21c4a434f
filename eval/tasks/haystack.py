"""Text to hide things in: sentences of a small grammar over twenty trades, in runs of one trade, with people in them.

It exists so that generated tasks need no download and no third-party text. Sentences are plausible rather than true,
most words are rare and some are common, and every person is named once, so that a name in a needle is nothing special.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple


class Trade(NamedTuple):
    """Words of one trade, separated by commas; things are singular and take a regular plural."""

    agents: str
    things: str
    actions: str
    places: str
    qualities: str


TRADES = (
    Trade(
        "keeper, watchman, inspector, helmsman",
        "lantern, lens cover, shutter, beacon, foghorn, railing, flare, barometer, logbook",
        "polished, lit, dimmed, adjusted, inspected, repainted",
        "gallery, cliff, jetty",
        "weathered, dazzling, slippery, lonely, salt-stained",
    ),
    Trade(
        "typesetter, proofreader, printer, engraver",
        "pamphlet, typeface, poster, broadsheet, woodcut, galley, almanac, headline, stencil",
        "printed, corrected, bound, trimmed, folded, misprinted",
        "composing room, attic, binding table",
        "inky, crooked, glossy, smudged, narrow",
    ),
    Trade(
        "grower, picker, grafter, cider maker",
        "pear, basket, sapling, hedge, wheelbarrow, blossom, graft, quince, beetle",
        "pruned, harvested, sorted, mulched, shook, gathered",
        "press house, meadow, southern slope",
        "ripe, frosted, wormy, fragrant, knotty",
    ),
    Trade(
        "bargeman, dredger, toll clerk, navvy",
        "barge, sluice, towpath, mooring, paddle, culvert, embankment, bollard, windlass key",
        "flooded, drained, dredged, moored, raised, blocked",
        "upper basin, aqueduct, wharf",
        "muddy, leaky, stagnant, shallow, mossy",
    ),
    Trade(
        "glassblower, apprentice, foreman, stoker",
        "goblet, vase, bottle, blowpipe, furnace, pane, bead, mould, decanter",
        "melted, cooled, cracked, etched, shattered, tinted",
        "cooling shed, annealing hall, yard",
        "translucent, molten, flawless, brittle, emerald",
    ),
    Trade(
        "archivist, curator, registrar, scribe",
        "ledger, parchment, seal, folio, deed, catalogue, manuscript, inkwell, cabinet",
        "catalogued, deciphered, misplaced, transcribed, copied, unrolled",
        "vault, reading room, basement",
        "faded, illegible, dusty, handwritten, priceless",
    ),
    Trade(
        "observer, forecaster, technician, balloonist",
        "thermometer, balloon, rain gauge, sensor, antenna, graph, weather vane, cloud, satellite",
        "measured, predicted, calibrated, launched, averaged, tracked",
        "summit hut, mast, plateau",
        "humid, gusty, overcast, chilly, accurate",
    ),
    Trade(
        "engineer, surveyor, welder, rigger",
        "girder, rivet, pier, scaffold, bearing, arch support, bolt, truss beam, crane",
        "riveted, tightened, hoisted, replaced, surveyed, reinforced",
        "eastern bank, approach road, gorge",
        "rigid, rusty, heavy, slender, suspended",
    ),
    Trade(
        "director, prompter, stagehand, understudy",
        "curtain, costume, spotlight, script, backdrop, trapdoor, prop, chandelier, footlight",
        "rehearsed, staged, mended, praised, rewrote, ruined",
        "dressing room, balcony, orchestra pit",
        "velvet, gilded, comic, painted, dramatic",
    ),
    Trade(
        "bell ringer, warden, mechanic, sexton",
        "pendulum, bell, sundial, hammer, counterweight, chime, hinge, lever, clock hand",
        "wound, struck, oiled, silenced, synchronised, dismantled",
        "belfry, spiral staircase, market square",
        "bronze, mechanical, punctual, ornate, deafening",
    ),
    Trade(
        "miller, rag collector, sorter, overseer",
        "vat, sheet, roller, ream, watermark, drying rack, envelope, carton, sieve",
        "pulped, pressed, bleached, dried, stacked, weighed",
        "beating floor, mill race, storehouse",
        "damp, coarse, creamy, fibrous, pale",
    ),
    Trade(
        "stonecutter, blaster, haulier, sculptor",
        "boulder, chisel, slab, wedge, handcart, pulley, pebble, fossil, crowbar",
        "split, quarried, hauled, cleaved, blasted, chipped",
        "rim, lower terrace, loading ramp",
        "jagged, granite, crumbling, massive, flecked",
    ),
    Trade(
        "botanist, gardener, taxonomist, volunteer",
        "orchid, fern, palm, label, seedling, terrarium, bulb, petal, root",
        "watered, repotted, labelled, pollinated, admired, transplanted",
        "glasshouse, rockery, herb bed",
        "tropical, fragile, spiny, rare, evergreen",
    ),
    Trade(
        "signalman, conductor, dispatcher, shunter",
        "locomotive, carriage, signal, timetable, buffer, sleeper, whistle, tunnel, goods wagon",
        "delayed, coupled, rerouted, uncoupled, flagged, overhauled",
        "depot, junction, marshalling yard",
        "express, sooty, overdue, northbound, crowded",
    ),
    Trade(
        "captain, deckhand, purser, passenger",
        "lifeboat, anchor, gangway, funnel, cabin, porthole, rope, propeller, buoy",
        "boarded, steered, anchored, unloaded, rescued, scrubbed",
        "upper deck, quay, sandbank",
        "salty, rough, tidal, buoyant, storm-beaten",
    ),
    Trade(
        "announcer, producer, sound engineer, listener",
        "broadcast, microphone, jingle, transmitter, interview, recording, headphone, playlist, aerial",
        "relayed, recorded, muted, edited, interrupted, amplified",
        "studio, control booth, corridor",
        "crackling, lively, muffled, nightly, cheerful",
    ),
    Trade(
        "librarian, borrower, bookbinder, student",
        "novel, bookcase, map, volume, bookmark, encyclopedia, trolley, index card, footnote",
        "shelved, borrowed, renewed, returned, annotated, reserved",
        "alcove, lending desk, periodicals room",
        "leather-bound, scribbled, weighty, anonymous, abridged",
    ),
    Trade(
        "toymaker, designer, puppeteer, tester",
        "puppet, kite, marble, dollhouse, jigsaw, tin soldier, rattle, mask, paper boat",
        "carved, assembled, decorated, glued, wrapped, invented",
        "showroom, workbench, shop front",
        "wooden, wobbly, colourful, miniature, clockwork",
    ),
    Trade(
        "salt raker, merchant, porter, boatman",
        "pan, rake, sack, barrel, windmill, shovel, brine tank, crystal, tarpaulin",
        "raked, evaporated, shovelled, loaded, taxed, bartered",
        "drying ground, warehouse, lagoon",
        "crusted, white, bitter, sunlit, grainy",
    ),
    Trade(
        "geologist, caver, guide, biologist",
        "stalactite, helmet, cavern, bat, passage, puddle, headlamp, rope bridge, rock pool",
        "explored, charted, sketched, discovered, sealed, widened",
        "entrance, underground lake, side chamber",
        "dripping, pitch-dark, winding, ancient, hollow",
    ),
)

PATTERNS = (
    "The {agent} {action} the {quality} {thing} {when}.",
    "{When}, the {agent} and the {agent2} {action} one {thing} after the other.",
    "According to {person}, the {thing} near the {place} had become too {quality} for the {agent}.",
    "Nobody {action} the {thing} until the {agent} found {number} more of them in the {place}.",
    "{person} wrote a long letter about the {agent} who {action} the {quality} {thing}.",
    "In {year} the {agent} {action} {number} {thing}s and gave the rest to the {agent2}.",
    "The {thing} beside the {place} looked {quality}, yet the {agent} {action} it without a word.",
    "It was {when} that the {agent} first {action} the {thing}.",
    "Guests of the {place} often ask {person} why the {thing} is so {quality}.",
    "Because the {place} was closed {when}, the {agent} {action} the {thing} somewhere else.",
    "Neither the {agent} nor the {agent2} would admit who {action} the {quality} {thing}.",
    "Some say that the {agent} {action} every {thing} in the {place} by hand.",
    "{person} still remembers how the {agent} {action} the {thing} {when}.",
    "The report by {person} mentions the {quality} {thing}, the {place} and little else.",
    "Each {thing} was counted twice, and {person} noted {number} of them in the margin.",
    "Far from the {place}, the {agent2} heard that the {agent} had left the {thing} behind.",
    "What the {agent} liked best was the {quality} {thing}, above all {when}.",
    "A letter of {year} tells how the {agent} {action} the last {thing} of the {place}.",
)

WHEN = (
    "before dawn, after the long winter, on a windless afternoon, at the end of the season, during the great flood, "
    "in the first week of spring, shortly before noon, late at night, in the middle of the holidays, on market day, "
    "under a full moon, after the second inspection, in early autumn, while it rained, as the fog lifted, "
    "at the beginning of the century, three days later, without any warning, for the last time, despite the frost, "
    "on the eve of the festival, when the strike was over, between two thunderstorms, on the hottest day of July"
)

FIRST_NAMES = (
    "Ada Anselm Astrid Basil Beata Boris Cedric Celia Clara Dora Edgar Elin Emil Esther Fabian Felix Frida Gerda "
    "Gideon Greta Hanna Hector Helga Hugo Ida Igor Ines Ivo Jasper Johan Judith Karin Kasimir Lars Leonie Linus Lotte "
    "Magda Marius Matilda Milo Nadia Nils Odile Olaf Otto Paula Petra Quentin Ramona Raoul Rita Rufus Sabine "
    "Silas Sonja Tamara Theo Tilda Ulrich Ursula Vera Viktor Wanda Wilma Xaver Yvonne Zelda"
)
SURNAMES = (  # beginnings, middles and ends
    "Bar Bel Bran Dal Dor Fal Fen Gor Gris Hal Hol Jar Kel Kor Lam Lin Mar Mol Nor Ost Pel Quil Ran Sol Tar Ven Zel",
    "a e i o u ade ani avo edi eka elo emi ila imo ova uri ust",
    "bach dahl feld gren horn kvist land lund mark nen ric rup sen ski stad strom vall vik wen zan",
)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


class Haystack:
    """Filler sentences and people of one row.

    Args:
        rng: Where all chance comes from; the same state gives the same text.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._surnames: set[str] = set()
        self._trade = TRADES[0]
        self._left = 0

    def person(self) -> str:
        """First name and surname of somebody; no surname comes twice."""
        surname = ""
        while not surname or surname in self._surnames:
            surname = "".join(self._rng.choice(parts.split()) for parts in SURNAMES)
        self._surnames.add(surname)
        return f"{self._rng.choice(FIRST_NAMES.split())} {surname}"

    def sentence(self) -> str:
        """The next sentence; three to six in a row are about one trade."""
        return self.labelled()[1]

    def labelled(self) -> tuple[int, str]:
        """The next sentence with the number of its trade in `TRADES`."""
        if not self._left:
            self._trade, self._left = self._rng.choice(TRADES), self._rng.randint(3, 6)
        self._left -= 1
        number = TRADES.index(self._trade)
        return number, self.about(number)

    def about(self, number: int) -> str:
        """A sentence about the trade of that number."""
        rng, trade = self._rng, TRADES[number]
        pattern = rng.choice(PATTERNS)
        agent, agent2 = rng.sample(_words(trade.agents), 2)
        when = rng.choice(_words(WHEN))
        return pattern.format(
            agent=agent,
            agent2=agent2,
            thing=rng.choice(_words(trade.things)),
            action=rng.choice(_words(trade.actions)),
            place=rng.choice(_words(trade.places)),
            quality=rng.choice(_words(trade.qualities)),
            when=when,
            When=when[0].upper() + when[1:],
            person=self.person() if "{person}" in pattern else "",
            number=rng.randint(12, 98),
            year=rng.randint(1801, 1989),
        )

    def sentences(self, words: int) -> list[str]:
        """Sentences until they have at least `words` words together."""
        found: list[str] = []
        total = 0
        while total < words:
            found.append(self.sentence())
            total += len(found[-1].split())
        return found
