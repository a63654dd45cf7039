// Tokens of administrators, what administrators did, and what the gateway was told.

import { call, may } from "../api.js";
import { action, form, secret } from "../dialog.js";
import { ROWS_MAX, badge, button, card, code, el, heading, table, time } from "../dom.js";
import { indented, state } from "../format.js";
import { finder, list, live } from "../listing.js";

const ROLES = [
  ["ADMIN_ROLE_VIEWER", "viewer: looks, and changes nothing"],
  ["ADMIN_ROLE_OPERATOR", "operator: runs the gateway, hands out no credential"],
  ["ADMIN_ROLE_ADMIN", "admin: everything"],
];

function create(look) {
  form({
    title: "New token", yes: "Create",
    fields: [
      { name: "name", label: "Name", required: true, hint: "1 to 64 letters, digits, - _ and ." },
      { name: "role", label: "Role", options: ROLES },
    ],
    run: async (values) => {
      const { token } = await call("AdminTokenService/CreateAdminToken", values);
      secret(`Token ${values.name}`, [["Token", token]]);
      await look();
    },
  });
}

export async function administrators(content, context) {
  const { signal, failed } = context;
  const load = () => list("AdminTokenService/ListAdminTokens", "tokens", {}, signal);
  await live(content, context, load, (all, { look }) => [
    heading("Administrators", { actions: [may("AdminTokenService/CreateAdminToken")
      ? button("New token", () => create(look), { class: "primary" }) : null] }),
    card("Tokens",
      el("p", { class: "hint" }, "Beside these there is the admin token of the gateway, which may do everything."),
      table("Tokens", [
        { name: "Name", cell: ({ name }) => el("b", {}, name) },
        { name: "Role", cell: ({ role }) => badge(state(role, "ADMIN_ROLE"), "plain") },
        { name: "Made", cell: ({ createdAt }) => time(createdAt) },
        { name: "", cell: ({ name }) => action("Revoke", "AdminTokenService/RevokeAdminToken", { name },
          { label: `Revoke ${name}`, ask: "No call begins with it any more.", done: "Revoked.", then: look, failed, danger: true }) },
      ], all, "There is no other token.", ({ name }) => name)),
  ]);
}

// What a record says was there, as JSON or as nothing.
const shown = (title, json) => (json ? [el("h3", {}, title), el("pre", { tabindex: 0, "aria-label": title }, indented(json))] : null);

export async function audit(content, context) {
  const { signal } = context;
  const found = {};
  const load = async () => (await call("SystemService/ListAudit", { pageSize: ROWS_MAX }, signal)).records;
  await live(content, context, load, (all, { redraw }) => {
    const find = finder(found, "Find a change", redraw);
    return [
      heading("Audit", { actions: [find.input] }),
      card("What administrators did",
        el("p", { class: "hint" }, `The newest ${ROWS_MAX} at most; buswire audit list has all.`),
        table("What administrators did", [
          { name: "When", cell: ({ at }) => time(at) },
          { name: "Who", cell: ({ caller, address }) => [el("b", {}, caller), address ? el("small", {}, address) : null] },
          { name: "What", cell: ({ method, request, before, after }) => el("details", {}, el("summary", {}, method),
            shown("Asked for", request), shown("Before", before), shown("After", after)) },
          { name: "Of", cell: ({ resource }) => resource },
          { name: "How it ended", cell: ({ code: ended, error }) => (ended ? [badge("failed"), " ", error] : badge("done", "good")) },
        ], all.filter((it) => find.stays(it.caller, it.method, it.resource, it.error)),
        all.length ? "No change is like that." : "Nothing was changed yet.", ({ number: key }) => key)),
    ];
  });
}

const SOURCES = { default: "default", file: "file", environment: "environment", "secret file": "file of a secret", argument: "command line" };

export async function configuration(content, context) {
  const { signal } = context;
  const found = {};
  const load = async () => (await call("SystemService/GetConfiguration", {}, signal)).settings;
  await live(content, context, load, (all, { redraw }) => {
    const find = finder(found, "Find a setting", redraw);
    return [
      heading("Configuration", { actions: [find.input] }),
      card("In force", table("Settings", [
        { name: "Setting", cell: ({ key }) => code(key) },
        { name: "Value", cell: ({ value, secret: hidden }) => (hidden ? badge("secret", "plain") : value && code(value)) },
        { name: "From", cell: ({ source, origin }) => [SOURCES[state(source, "SETTING_SOURCE")], origin ? el("small", {}, origin) : null] },
      ], all.filter(({ key }) => find.stays(key)), "No setting is like that.", ({ key }) => key)),
    ];
  });
}
