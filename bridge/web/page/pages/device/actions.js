/** Every action of a device as a form, with its answer and the same call as others write it. */

import { call } from "../../api.js";
import { FORMATS } from "../../commands.js";
import { actionIds, actionOf, boundsOf, entryOf, inputsOf, lastLevel, presetOf, typed } from "../../components.js";
import { Badge, Button, Copy, faultText, Growing, SearchBox } from "../../kit.js";
import { decoded } from "../../model.js";
import { route, setQuery } from "../../router.js";
import { html, useId, useState } from "../../ui.js";
import { words } from "../../words.js";

export function Actions({ id, row, services }) {
  const { filter = "" } = route.value.query;
  const wanted = filter.trim().toLowerCase();
  const shown = services
    .map((service) => {
      const ids = actionIds(service);
      const isService = !wanted || service.name.toLowerCase().includes(wanted);
      return { service, ids: isService ? ids : ids.filter((each) => lastLevel(each).toLowerCase().includes(wanted)) };
    })
    .filter(({ ids }) => ids.length || !wanted);
  return html`<div class="stack">
    <div class="toolbar tight"><${SearchBox} label=${words.device.filter} hint=${words.device.filterHint} value=${filter} testid="action-filter" onInput=${(text) => setQuery({ filter: text })} /></div>
    ${!services.length && html`<p class="muted">${words.device.noServices}</p>`}
    <${Growing} class="stack" items=${shown} portion=${25} render=${({ service, ids }) => html`<section class="card" key=${service.id} data-testid="actions-of" data-service=${service.level}>
      <h2>${service.name}</h2>
      ${!ids.length && html`<p class="muted">${service.document ? words.action.none : words.action.detail}</p>`}
      <${Growing} items=${ids} portion=${60} render=${(each) => html`<${Action} key=${each} id=${id} service=${service} actionId=${each} row=${row} />`} />
    </section>`} /></div>`;
}

function Action({ id, service, actionId, row }) {
  const [isOpen, open] = useState(false);
  const name = decoded(lastLevel(actionId));
  return html`<details class="action" open=${isOpen} onToggle=${(event) => open(event.target.open)} data-testid="action" data-action=${name}>
    <summary><h3 class="grow clip">${name}</h3></summary>
    ${isOpen && html`<${Form} id=${id} service=${service} actionId=${actionId} row=${row} />`}
  </details>`;
}

function Form({ id, service, actionId, row }) {
  const action = actionOf(actionId);
  const inputs = inputsOf(action);
  const outputs = action.arguments.filter((each) => each.direction !== "in");
  const [texts, setTexts] = useState({});
  const [isChecked, check] = useState(true);
  const [answer, setAnswer] = useState(null);
  const [busy, setBusy] = useState(false);
  const textOf = (argument) => texts[argument.name] ?? presetOf(argument);
  const args = Object.fromEntries(inputs.map((each) => [each.name, typed(textOf(each), each.variable)]));
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setAnswer(await call(id, service.level, action.name, args, isChecked ? {} : { check: false }));
    setBusy(false);
  };
  return html`<form class="action-body" onSubmit=${submit} noValidate=${!isChecked}>
    ${inputs.length
      ? html`<div class="arguments">${inputs.map((each) => html`<${Argument} key=${each.name} argument=${each} text=${textOf(each)}
          isWrong=${answer?.argument === each.name} onInput=${(text) => setTexts({ ...texts, [each.name]: text })} />`)}</div>`
      : html`<p class="muted">${words.action.noArguments}</p>`}
    ${outputs.length > 0 && html`<p class="muted">${words.action.returns}: ${outputs.map((each) => each.name).join(", ")}</p>`}
    <div class="actions">
      <${Button} type="submit" kind="primary" symbol="send" label=${busy ? words.action.running : words.action.run} needs busy=${busy} disabled=${!row.isOnline} testid="call" />
      ${inputs.length > 0 && html`<label class="check"><input type="checkbox" checked=${!isChecked} onChange=${(event) => check(!event.target.checked)} />${words.action.unchecked}</label>`}
    </div>
    ${answer && html`<${Answer} answer=${answer} outputs=${outputs} />`}
    <div class="actions copy-as"><span class="muted">${words.action.copyAs}</span>
      ${Object.keys(FORMATS).map((format) => html`<${Copy} key=${format} label=${words.action.formats[format]} testid=${`copy-${format}`}
        text=${() => FORMATS[format]({ id, service: service.level, action: action.name, args })} />`)}</div>
  </form>`;
}

function Argument({ argument, text, isWrong, onInput }) {
  const id = useId();
  const { name, variable } = argument;
  const entry = entryOf(variable);
  const [low, high] = boundsOf(variable);
  const said = [
    variable?.data_type,
    (variable?.minimum !== undefined || variable?.maximum !== undefined) && words.action.range(variable.minimum, variable.maximum),
    variable?.step && words.action.step(variable.step),
    variable?.default !== undefined && words.action.defaults(String(variable.default)),
  ].filter(Boolean).join(", ");
  const shared = { id, "aria-describedby": `${id}-hint`, "aria-invalid": isWrong || undefined, name, "data-testid": `argument-${name}`, onInput: (event) => onInput(event.target.value) };
  return html`<div class="field ${entry === "long" ? "wide" : ""}"><label for=${id}>${name}</label>
    ${field()}<small id=${`${id}-hint`}>${said}</small></div>`;
  function field() {
    switch (entry) {
      case "boolean": return html`<${Select} shared=${shared} options=${["true", "false"]} text=${text} />`;
      case "choice": return html`<${Select} shared=${shared} options=${variable.allowed_values} text=${text} />`;
      case "integer": return html`<input ...${shared} type="number" min=${low} max=${high} step=${variable?.step || 1} value=${text} required />`;
      case "real": return html`<input ...${shared} type="number" min=${low} max=${high} step="any" value=${text} required />`;
      case "long": return html`<textarea ...${shared} value=${text} spellcheck=${false}></textarea>`;
      default: return html`<input ...${shared} type="text" value=${text} spellcheck=${false} autocomplete="off" />`;
    }
  }
}

function Select({ shared, options, text }) {
  return html`<select ...${shared} value=${text}>${options.map((each) => html`<option key=${each} value=${each} selected=${each === text}>${each}</option>`)}</select>`;
}

function Answer({ answer, outputs }) {
  const out = Object.entries(answer.out ?? {});
  const took = answer.elapsed_ms !== undefined && html`<span class="muted">${words.action.took(answer.elapsed_ms)}</span>`;
  const copy = html`<${Copy} isIcon label=${words.copy} text=${JSON.stringify(answer, null, 2)} />`;
  if (!answer.success) {
    return html`<div class="answer bad" role="status" data-testid="answer"><div class="split"><strong class="wrong">${faultText(answer)}</strong><span class="actions">${took}${copy}</span></div>
      ${answer.argument && html`<p>${words.action.of(answer.argument)}</p>`}
      ${answer.outcome && html`<p class="muted">${words.action.outcomes[answer.outcome] ?? answer.outcome}</p>`}</div>`;
  }
  const retval = outputs.find((each) => each.retval)?.name;
  return html`<div class="answer" role="status" data-testid="answer"><div class="split"><${Badge} tone="good" symbol="check">${words.action.answer}</${Badge}><span class="actions">${took}${copy}</span></div>
    ${out.length
      ? html`<table><tbody>${out.map(([name, value]) => html`<tr key=${name}><th scope="row">${name}${name === retval && html` <small>${words.action.retval}</small>`}</th>
          <td class=${String(value).length > 80 ? "long" : ""}>${typeof value === "object" ? JSON.stringify(value) : String(value)}</td></tr>`)}</tbody></table>`
      : html`<p class="muted">${words.action.noOut}</p>`}</div>`;
}
