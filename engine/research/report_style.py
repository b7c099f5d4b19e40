"""The look of a report: one stylesheet, light and dark."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #1d1c1a; --soft: #5d5a54; --faint: #8d8a83; --rule: #e6e3db;
  --c0: #2a78d6; --c1: #eb6834; --c2: #1baf7a; --c3: #c98500; --c4: #7a63d9; --c5: #c2478b;
  --buy: #10845a; --sell: #d03b3b; --warn: #a86400; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #161614; --card: #1e1e1b; --ink: #eceae4; --soft: #b0ada5; --faint: #85827b; --rule: #33322e;
  --c0: #3987e5; --c1: #e0703f; --c2: #22a878; --c3: #c98500; --c4: #9085e9; --c5: #d55181;
  --buy: #2fbf8a; --sell: #f06a6a; --warn: #e0a030; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 20px; padding-bottom: 18px; }
h1 { font-size: 26px; font-weight: 650; letter-spacing: -.015em; margin: 0; }
h2 { font-size: 17px; font-weight: 620; margin: 44px 0 12px; letter-spacing: -.005em; }
h3 { font-size: 13px; font-weight: 600; color: var(--soft); margin: 0 0 6px; }
svg + h3 { margin-top: 16px; }
ul.note { margin: 0; padding-left: 18px; }
.when { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px;
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; overflow: hidden; }
.tile { box-shadow: 0 0 0 1px var(--rule); padding: 14px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 620; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.tile b small { font-size: 13px; font-weight: 500; color: var(--soft); }
.tile span { font-size: 12.5px; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 16px 18px; margin: 0 0 14px; }
.scroll { overflow-x: auto; } .scroll th, .scroll td { padding-right: 10px; } .scroll table { font-size: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px;
  padding: 0 18px 6px 0; white-space: nowrap; }
td { padding: 6px 18px 6px 0; border-top: 1px solid var(--rule); vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.up { color: var(--buy); } .down { color: var(--sell); } .warn { color: var(--warn); }
.note { color: var(--soft); font-size: 13.5px; margin: 0 0 10px; max-width: 76ch; }
code, .mono { font: 12.5px ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 12.5px; color: var(--soft); margin: 0 0 4px; }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px;
  margin-right: 6px; vertical-align: 3px; }
.legend svg { width: 11px; height: 10px; margin-right: 5px; }
.chart { display: block; width: 100%; height: auto; overflow: visible; }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .zero { stroke: var(--faint); stroke-width: 1; }
.chart .tick { fill: var(--faint); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.chart .mid { text-anchor: middle; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.band { opacity: .2; stroke: none; }
.band.c0 { fill: var(--c0); } .band.quiet { fill: var(--faint); }
.grades { display: flex; height: 10px; border-radius: 5px; overflow: hidden; gap: 2px; margin: 2px 0 12px; }
.grades i { display: block; min-width: 2px; }
.g-certain { background: var(--buy); } .g-likely { background: var(--c3); } .g-ambiguous { background: var(--sell); }
.key { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 7px; }
td.sub, .sub { color: var(--faint); font-size: 12.5px; }
.area { opacity: .13; stroke: none; }
.line.c0 { stroke: var(--c0); } .area.c0, .dot.c0 { fill: var(--c0); }
.line.c1 { stroke: var(--c1); } .area.c1, .dot.c1 { fill: var(--c1); }
.line.c2 { stroke: var(--c2); } .area.c2, .dot.c2 { fill: var(--c2); }
.line.c3 { stroke: var(--c3); } .area.c3, .dot.c3 { fill: var(--c3); }
.line.c4 { stroke: var(--c4); } .area.c4, .dot.c4 { fill: var(--c4); }
.line.c5 { stroke: var(--c5); } .area.c5, .dot.c5 { fill: var(--c5); }
.line.quiet { stroke: var(--faint); stroke-width: 1.1; } .dot.quiet { fill: var(--faint); }
.line.loss { stroke: var(--sell); stroke-width: 1.2; } .area.loss, .dot.loss { fill: var(--sell); }
polygon.buy { fill: var(--buy); stroke: var(--buy); } polygon.sell { fill: var(--sell); stroke: var(--sell); }
polygon.hollow { fill: var(--card); stroke-width: 1.4; }
footer { margin-top: 48px; color: var(--faint); font-size: 12.5px; }
@media (max-width: 640px) { main { padding: 24px 14px 60px; } .card { padding: 12px; } }
@media print { body { background: #fff; } .card, .tiles { break-inside: avoid; } }
"""
