/** A device in its parts, as its documents and values tell: services, variables, actions, arguments. */

import { documentOf } from "./documents.js";
import { below, decoded, serviceIds } from "./model.js";
import { read, topicsOf } from "./store.js";

const READS = /^(Get|Browse|Search|Is|List)|Get/;
const IDENTIFIERS = new Set(["InstanceID", "Channel"]);
const FIXED = /^A_ARG_TYPE_/;

export const lastLevel = (id) => id.slice(id.lastIndexOf("/") + 1);

/** The services of a device, those that only values tell of last: `{id, level, name, document}`. */
export function servicesOf(id, document) {
  const found = new Set(serviceIds(document));
  for (const topic of topicsOf(id)) {
    const levels = below(topic).split("/");
    if (levels[2] === "value" && levels.length >= 4) found.add(`${levels[0]}/${levels[1]}`);
  }
  return [...found].map((each) => ({
    id: each,
    level: lastLevel(each),
    name: decoded(lastLevel(each)),
    document: documentOf(each),
  }));
}

/** The values of all services by the id of the service: `{topic, variable, place: [InstanceID, Channel]}`. */
export function valuesOf(id) {
  const found = new Map();
  for (const topic of topicsOf(id)) {
    const [device, service, word, variable, ...place] = below(topic).split("/");
    if (word !== "value" || variable === undefined || ["set", "get", "chunk"].includes(place.at(-1))) continue;
    const key = `${device}/${service}`;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push({ topic, variable, place: place.map(decoded) });
  }
  return found;
}

export const variableOf = (service, name) => documentOf(`${service.id}/variable/${name}`);

/** The names of the actions, in the order of the description. */
export const actionIds = (service) => (service.document?.children ?? []).filter((id) => id.split("/")[2] === "action");

export const variableIds = (service) => (service.document?.children ?? []).filter((id) => id.split("/")[2] === "variable");

/** An action with its arguments, and the state variable of each. */
export function actionOf(id) {
  const document = documentOf(id);
  const found = (document?.children ?? []).map((each) => {
    const argument = documentOf(each);
    return argument && { ...argument, variable: argument.variable && documentOf(argument.variable) };
  });
  return { id, name: document?.name ?? decoded(lastLevel(id)), arguments: found.filter(Boolean), isWhole: Boolean(document) };
}

/** The arguments that one gives for an action; those that have a value anyway have it as `preset`. */
export const inputsOf = (action) => action.arguments.filter((each) => each.direction === "in");

/** The settable variables of a service: name → the variable's document that says what may be set. */
export function settableOf(service) {
  const found = new Map();
  for (const id of actionIds(service)) {
    const action = actionOf(id);
    if (READS.test(action.name)) continue;
    const inputs = inputsOf(action).filter((each) => !isIdentifier(each));
    if (inputs.length !== 1 || !inputs[0].variable) continue;
    const { variable } = inputs[0];
    if (!FIXED.test(variable.name)) found.set(variable.name, variable);
  }
  for (const [name, variable] of [...found]) {
    const status = name.replace(/Target$/, "Status");
    const shown = name === "Target" ? "Status" : status;
    if (shown === name || found.has(shown)) continue;
    const document = variableOf(service, shown);
    if (!document) continue;
    found.set(shown, { ...variable, ...document, allowed_values: document.allowed_values ?? variable.allowed_values,
      minimum: document.minimum ?? variable.minimum, maximum: document.maximum ?? variable.maximum, step: document.step ?? variable.step });
    found.delete(name);
  }
  return found;
}

function isIdentifier(argument) {
  return IDENTIFIERS.has(argument.name) || /^A_ARG_TYPE_(InstanceID|Channel)$/.test(argument.variable?.name ?? "");
}

const INTEGER = /^(ui[1248]|i[1248]|int)$/;
const REAL = /^(r4|r8|number|float|fixed\.14\.4)$/;
const BOUNDS = { ui1: [0, 255], ui2: [0, 65535], ui4: [0, 4294967295], i1: [-128, 127], i2: [-32768, 32767], i4: [-2147483648, 2147483647] };

/** How a variable is entered: `boolean`, `choice`, `integer`, `real`, `long` or `text`. */
export function entryOf(variable) {
  const type = variable?.data_type ?? "string";
  if (type === "boolean") return "boolean";
  if (variable?.allowed_values?.length) return "choice";
  if (INTEGER.test(type)) return "integer";
  if (REAL.test(type)) return "real";
  return /MetaData|Metadata|Result|XML/.test(variable?.name ?? "") ? "long" : "text";
}

/** The range of a variable, from its SCPD, else from its type: `[low, high]`. */
export const boundsOf = (variable) => {
  const [low, high] = BOUNDS[variable?.data_type] ?? [];
  return [variable?.minimum ?? low, variable?.maximum ?? high];
};

/** What an argument holds before the reader has entered anything. */
export function presetOf(argument) {
  const { variable } = argument;
  if (argument.name === "InstanceID") return "0";
  if (argument.name === "Channel" && (variable?.allowed_values ?? ["Master"]).includes("Master")) return "Master";
  if (variable?.default !== undefined) return String(variable.default);
  switch (entryOf(variable)) {
    case "boolean": return "false";
    case "choice": return variable.allowed_values[0];
    case "integer":
    case "real": return String(variable.minimum ?? 0);
    default: return "";
  }
}

/** A text of a field as JSON carries it. */
export function typed(text, variable) {
  switch (entryOf(variable)) {
    case "boolean": return text === "true";
    case "integer":
    case "real": {
      const number = Number(text);
      return text.trim() !== "" && Number.isFinite(number) && String(number) === text.trim() ? number : text;
    }
    default: return text;
  }
}

/** The value at a topic as a number, undefined where it is none. */
export function numberAt(topic) {
  const text = read(topic);
  return text !== undefined && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
}
