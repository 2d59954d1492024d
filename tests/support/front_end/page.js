// Calls the old routes as the old front end does, and dies of the same answers. Each tab is a function; where one throws inside a
// boundary, the page writes an error in its place; where the first part throws, the whole page is gone.
const root = document.getElementById("root");
const get = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) return undefined; // 404 and 500 are safe: the page shows nothing
  return answer.json();
};

const card = async () => {
  const status = await get("/api/v1/historical/backfill/status");
  if (status) document.getElementById("card").textContent = status.controller.current_mode.toUpperCase();
};

const tabs = {
  Chart: async () => {
    const query = "symbol=AAPL&timeframe=1h&asset_class=STK&exchange=NASDAQ&currency=USD";
    const bars = await get(`/api/v1/market-data/historical/bars?${query}`);
    const times = (bars?.candles ?? []).map((one) => one.time.replace(/ +/, "T"));
    return `${times.length} bars`;
  },
  "Interactive Brokers": async () => {
    const [positions, orders, trades] = await Promise.all([
      get("/api/v1/ib/positions"),
      get("/api/v1/ib/orders"),
      get("/api/v1/trades/?limit=100&offset=0"),
    ]);
    const rows = [
      ...(positions?.positions ?? []).map((one) => one.position.toFixed(2)),
      ...(orders?.orders ?? []).map((one) => `${one.filled_quantity.toFixed(0)} of ${one.total_quantity.toFixed(0)}`),
      ...(trades ?? []).map((one) => `${one.side} ${one.quantity} at ${one.price}`),
    ];
    return rows.join(", ") || "nothing";
  },
  Engine: async () => {
    const engine = await get("/api/v1/nautilus/engine/status");
    return engine ? engine.status.state.toUpperCase() : "Unable to load engine status";
  },
  Risk: async () => {
    const risk = await get("/api/v1/risk/portfolio/default");
    return risk ? `beta ${risk.beta.toFixed(2)}, ${parseFloat(risk.total_exposure)}` : "no risk";
  },
  Portfolio: async () => {
    const [assets, tags] = await Promise.all([
      get("/api/v1/portfolio/default/asset-allocations"),
      get("/api/v1/portfolio/default/strategy-allocations"),
    ]);
    const names = Object.keys(assets?.allocations.allocations ?? {});
    return [...names, ...(tags?.allocations.strategies ?? []).map((one) => one.name)].join(", ");
  },
};
const errors = {
  "Interactive Brokers": "Interactive Brokers Dashboard Error",
  Engine: "NautilusTrader Engine Error",
};

const open = async (name) => {
  const panel = document.getElementById("panel");
  try {
    panel.textContent = `${name}: ${await tabs[name]()}`;
  } catch (wrong) {
    panel.textContent = errors[name] ?? "";
    if (!errors[name]) throw wrong;
  }
};

const begin = async () => {
  root.innerHTML = '<h1>Dashboard</h1><div id="card"></div><div role="tablist"></div><div id="panel"></div>';
  const list = root.querySelector("[role=tablist]");
  for (const name of Object.keys(tabs)) {
    const tab = document.createElement("button");
    tab.setAttribute("role", "tab");
    tab.textContent = name;
    tab.onclick = () => open(name);
    list.append(tab);
  }
  new WebSocket(`ws://${location.host}/ws/realtime`);
  await fetch("/health");
  try {
    await card();
  } catch (wrong) {
    root.innerHTML = ""; // an uncaught error outside any boundary takes the whole page away
    throw wrong;
  }
};
begin();
