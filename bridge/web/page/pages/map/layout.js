/**
 * Places for the nodes of trees: `{nodes, links, width, height}`.
 *
 * A node has `key`, `state` and `children`, and gets `x`, `y` (its middle) and `width`; a link has
 * `key`, `path` and `state`.
 */

const ROW = 34;
const GAP = 14;
const LEVELS = [16, 190, 454, 720, 986];
const WIDTHS = [130, 220, 222, 222, 222];

/** A column for each level, a row for each leaf, parents in the middle of their children. */
export function inLevels(trees) {
  const nodes = [];
  const links = [];
  let next = 24;
  let deepest = 0;
  const place = (node, depth) => {
    const level = Math.min(depth, LEVELS.length - 1);
    deepest = Math.max(deepest, level);
    const placed = { ...node, x: LEVELS[level], width: WIDTHS[level] };
    nodes.push(placed);
    const below = node.children.map((child) => place(child, depth + 1));
    if (below.length) placed.y = (below[0].y + below.at(-1).y) / 2;
    else {
      placed.y = next;
      next += ROW;
    }
    if (depth <= 1) next += GAP;
    links.push(...below.map((child) => ({ key: child.key, path: curve(placed, child), state: child.state })));
    return placed;
  };
  for (const tree of trees) place(tree, 0);
  return { nodes, links, width: LEVELS[deepest] + WIDTHS[deepest] + 16, height: next - GAP };
}

function curve(from, to) {
  const [x, middle] = [from.x + from.width, (from.x + from.width + to.x) / 2];
  return `M${x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
}

const COLUMN = 300;
const INDENT = 22;
const LEAST = 180;

/** A row for each node below its parent, the devices of a bridge in as many columns as `room` has. */
export function inColumns(trees, room) {
  const nodes = [];
  const links = [];
  const columns = Math.max(1, Math.floor(room / COLUMN));
  const step = Math.max(LEAST + 2 * INDENT, Math.floor(room / columns));
  let top = 24;
  let widest = room;
  for (const tree of trees) {
    const root = { ...tree, x: 8, y: top, width: Math.min(step - 16, 240) };
    nodes.push(root);
    let bottom = top;
    split(tree.children, columns).forEach((devices, i) => {
      const trunk = 20 + i * step;
      let next = top + ROW + 10;
      let last = next;
      const place = (node, depth, stem) => {
        const x = trunk + INDENT * (depth + 1);
        const placed = { ...node, x, y: next, width: Math.max(LEAST, step - 28 - INDENT * (depth + 1)) };
        widest = Math.max(widest, x + placed.width + 8);
        nodes.push(placed);
        links.push({ key: node.key, path: `M${stem} ${next}H${x}`, state: node.state });
        next += ROW;
        let end = placed.y;
        for (const child of node.children) end = place(child, depth + 1, x + 14).y;
        if (end > placed.y) links.push({ key: `${node.key} below`, path: `M${x + 14} ${placed.y + 13}V${end}`, state: "" });
        return placed;
      };
      for (const device of devices) last = place(device, 0, trunk).y;
      const bus = top + 13 + 8;
      if (devices.length) links.push({ key: `${tree.key} ${i}`, path: i ? `M${trunk - step} ${bus}H${trunk}V${last}` : `M20 ${top + 13}V${last}`, state: "" });
      bottom = Math.max(bottom, next);
    });
    top = bottom + GAP + (tree.children.length ? 0 : ROW);
  }
  return { nodes, links, width: widest, height: top };
}

const rowsOf = (node) => 1 + node.children.reduce((sum, child) => sum + rowsOf(child), 0);

/** Devices in their order, in columns of much the same height. */
function split(devices, columns) {
  const share = devices.reduce((sum, device) => sum + rowsOf(device), 0) / columns;
  const found = Array.from({ length: columns }, () => []);
  let before = 0;
  for (const device of devices) {
    found[Math.min(columns - 1, Math.floor((before + 0.001) / share))].push(device);
    before += rowsOf(device);
  }
  return found;
}
