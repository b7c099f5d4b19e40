// The books as ladders: asks above, bids below, bars as wide as the displayed size, our own orders marked.

import { decimalsOf, see, trimmed } from "/format.js";
import { make, setText } from "/table.js";

const LEVELS = 5;
const lastMid = {};

export function showBooks(box, state) {
  const mine = new Set(state.working_orders.map((order) => `${order.symbol} ${order.side} ${order.price}`));
  while (box.children.length > state.book_tops.length) box.lastChild.remove();
  state.book_tops.forEach((book, at) => showLadder(box.children[at] ?? newLadder(box), book, mine));
}

function newLadder(box) {
  const ladder = make("div", "ladder", undefined, box);
  const name = make("div", "name", undefined, ladder);
  make("span", "", "", name);
  make("span", "", "", name);
  for (let row = 0; row < LEVELS * 2 + 1; row += 1) {
    const line = make("div", row === LEVELS ? "touch" : `level ${row < LEVELS ? "ask" : "bid"}`, undefined, ladder);
    if (row === LEVELS) {
      make("b", "", "", line);
      make("span", "faint", "", line);
    } else {
      make("span", "price", "", line);
      make("span", "size", "", line);
    }
  }
  return ladder;
}

function showLadder(ladder, book, mine) {
  ladder.classList.toggle("off", !book.ready);
  const [name, note] = ladder.firstChild.children;
  setText(name, book.symbol);
  setText(note, book.ready ? "" : book.reason);
  note.className = "warn";
  const { bids, asks } = book.levels;
  for (const [one, size] of [...bids, ...asks]) {
    see(book.symbol, "price", one);
    see(book.symbol, "size", size);
  }
  const most = Math.max(...[...bids, ...asks].map(([, size]) => Number(size)), 0) || 1;
  const lines = [...ladder.children].slice(1);
  for (let row = 0; row < LEVELS; row += 1) {
    showLevel(lines[LEVELS - 1 - row], asks[row], most, book.symbol, "sell", mine);
    showLevel(lines[LEVELS + 1 + row], bids[row], most, book.symbol, "buy", mine);
  }
  const [mid, spread] = lines[LEVELS].children;
  const decimals = decimalsOf(book.symbol, "price");
  const step = 10 ** decimals;
  setText(mid, book.mid === null ? "–" : book.mid.toFixed(decimals + (Math.abs(Math.round(book.mid * step) - book.mid * step) < 1e-6 ? 0 : 1)));
  const before = lastMid[book.symbol];
  if (before !== undefined && book.mid !== null && before !== book.mid) mid.className = before < book.mid ? "up" : "down";
  lastMid[book.symbol] = book.mid;
  if (book.bid !== null && book.ask !== null) {
    const gap = Number(book.ask) - Number(book.bid);
    setText(spread, `${gap.toFixed(decimals)} · ${((gap / book.mid) * 1e4).toFixed(2)} bp`);
  } else setText(spread, "");
}

function showLevel(line, level, most, symbol, side, mine) {
  setText(line.firstChild, level ? trimmed(symbol, "price", level[0]) : "");
  setText(line.lastChild, level ? trimmed(symbol, "size", level[1]) : "");
  line.style.setProperty("--share", level ? `${((Number(level[1]) / most) * 100).toFixed(1)}%` : "0%");
  line.classList.toggle("mine", Boolean(level) && mine.has(`${symbol} ${side} ${level[0]}`));
}
