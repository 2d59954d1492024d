"""The style sheet of a report. Its hash stands in the page's policy, so that no other style counts."""

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--page:#fff;--card:#f5f6f8;--text:#16191f;--soft:#5b6472;--grid:#dfe3e9;--rule:#c9cfd8;
--main:#1f5fbf;--wash:#1f5fbf22;--up:#11773b;--down:#b3261e;--fall:#b3261e22}
@media (prefers-color-scheme:dark){:root{--page:#12151b;--card:#1b2028;--text:#e8ebf0;--soft:#a0a9b8;--grid:#2a303b;
--rule:#3b4350;--main:#7fb0ff;--wash:#7fb0ff22;--up:#5fd38d;--down:#ff8a80;--fall:#ff8a8022}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 10px}
p.sub{margin:4px 0 20px;color:var(--soft);overflow-wrap:anywhere}
ul.figures{list-style:none;display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:0;padding:0}
ul.figures li{background:var(--card);border-radius:8px;padding:10px 12px;min-width:0}
ul.figures span{display:block;color:var(--soft);font-size:13px}
ul.figures strong{font-size:19px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
svg.chart{display:block;overflow:visible}
.grid{stroke:var(--grid);stroke-width:1}
.tick,.date{fill:var(--soft);font:12px system-ui,sans-serif}
.line{fill:none;stroke:var(--main);stroke-width:1.6;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.area{fill:var(--wash);stroke:none}
.fall .line{stroke:var(--down)}
.fall .area{fill:var(--fall)}
.up{fill:var(--up);stroke:var(--page)}
.down{fill:var(--down);stroke:var(--page)}
div.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--grid);white-space:nowrap}
thead th{color:var(--soft);font-weight:600;font-size:13px;border-bottom-color:var(--rule)}
th:first-child,td:first-child,.text{text-align:left}
td.gain{color:var(--up)}
td.loss{color:var(--down)}
dl{display:grid;grid-template-columns:minmax(120px,max-content) 1fr;gap:4px 20px;margin:0}
dt{color:var(--soft)}
dd{margin:0;min-width:0;overflow-wrap:anywhere}
p.few{color:var(--soft)}
@media (max-width:560px){.inner{display:none}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}}
@media print{main{max-width:none}h2,svg.chart{break-inside:avoid}}
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of a report: no script, no other source of anything, an origin of its own."""
