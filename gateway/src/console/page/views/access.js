// Who may use the buses of Backplane: clients and their grants, owners, users of 1.x, what was handed out
// to browsers, and how far owners are with what clients ask of them.

import { call, may } from "../api.js";
import { action, form, secret, tell } from "../dialog.js";
import { badge, button, card, code, el, heading, link, table, time } from "../dom.js";
import { expecting, state } from "../format.js";
import { finder, list, live } from "../listing.js";

const busLinks = (names) => names.map((name, index) => [index ? ", " : "", link(name, "bus", name)]);

// A button that opens a form, for whoever may make its call.
function opener(text, name, { title, note, fields, run }) {
  return may(name) ? button(text, () => form({ title: title || text, note, fields, yes: "Create", run })) : null;
}

const remove = (text, name, body, label, ask, look, failed) =>
  action(text, name, body, { label, ask, done: "Done.", then: look, failed, danger: true });

const PARTS = {
  clients: {
    title: "Clients",
    load: (signal) => list("ClientService/ListClients", "clients", {}, signal),
    text: (it) => [it.clientId, it.sourceUrl],
    key: (it) => it.clientId,
    empty: "No client: a back end of Backplane 2.0, which gets tokens with an id and a secret.",
    columns: (look, failed) => [
      { name: "Client", cell: ({ clientId }) => el("b", {}, clientId) },
      { name: "Posts as", cell: ({ sourceUrl }) => sourceUrl },
      { name: "Sends owners to", cell: ({ redirectUri }) => redirectUri },
      { name: "", cell: ({ clientId, ...it }) => el("span", { class: "row" },
        remove("End tokens", "AccessService/RevokeTokens", { clientId }, `End tokens of ${clientId}`, "Its grants stay: with its secret it can get others.", look, failed),
        remove("Delete", "ClientService/DeleteClient", { clientId, ...expecting(it) }, `Delete ${clientId}`, "It goes with its grants and tokens.", look, failed)) },
    ],
    make: (look) => opener("New client", "ClientService/CreateClient", {
      fields: [
        { name: "client_id", label: "Id", hint: "Empty: the gateway chooses one" },
        { name: "source_url", label: "Posts as (source URL)", required: true, type: "url" },
        { name: "redirect_uri", label: "Sends owners to", type: "url", hint: "Empty: the source URL" },
      ],
      run: async (values) => {
        const { client, secret: told } = await call("ClientService/CreateClient",
          { clientId: values.client_id, sourceUrl: values.source_url, redirectUri: values.redirect_uri });
        secret(`Client ${client.clientId}`, [["Id", client.clientId], ["Secret", told]]);
        await look();
      },
    }),
  },
  grants: {
    title: "Grants",
    load: (signal) => list("GrantService/ListGrants", "grants", {}, signal),
    text: (it) => [it.id, it.clientId, ...it.buses],
    key: (it) => it.id,
    empty: "No grant: it says which client may use which buses.",
    columns: (look, failed) => [
      { name: "Client", cell: ({ clientId }) => el("b", {}, clientId) },
      { name: "Buses", cell: ({ buses }) => busLinks(buses) },
      { name: "State", cell: (it) => badge(state(it.state, "GRANT_STATE")) },
      { name: "Given by", cell: ({ issuer }) => issuer || "an administrator" },
      { name: "Changed", cell: ({ updatedAt }) => time(updatedAt) },
      { name: "", cell: ({ id, clientId, state: how, ...it }) => (how === "GRANT_STATE_REVOKED" ? " "
        : remove("Revoke", "GrantService/RevokeGrant", { id, ...expecting(it) }, `Revoke the grant of ${clientId}`, "Every token that stands on it ends.", look, failed)) },
    ],
    make: (look) => opener("New grant", "GrantService/CreateGrant", {
      fields: [
        { name: "client_id", label: "Client", required: true },
        { name: "buses", label: "Buses", required: true, rows: 3, hint: "One a line" },
      ],
      run: async (values) => {
        await call("GrantService/CreateGrant", { clientId: values.client_id, buses: values.buses.split(/\s+/).filter(Boolean) });
        tell("Granted.");
        await look();
      },
    }),
  },
  owners: {
    title: "Owners",
    load: (signal) => list("OwnerService/ListOwners", "owners", {}, signal),
    text: (it) => [it.name, ...it.buses],
    key: (it) => it.name,
    empty: "No owner: a person who decides which clients may use their buses.",
    columns: (look, failed) => [
      { name: "Owner", cell: ({ name }) => el("b", {}, name) },
      { name: "Owns", cell: ({ buses }) => (buses.length ? busLinks(buses) : "–") },
      { name: "", cell: ({ name, ...it }) => el("span", { class: "row" },
        assign(name, look),
        remove("Sign out", "AccessService/EndSignIns", { owner: name }, `Sign out ${name}`, "In every browser.", look, failed),
        remove("Delete", "OwnerService/DeleteOwner", { name, ...expecting(it) }, `Delete ${name}`, "The buses of the owner are deleted too.", look, failed)) },
    ],
    make: (look) => opener("New owner", "OwnerService/PutOwner", {
      note: "An owner of this name gets another password.", fields: nameAndPassword,
      run: async (values) => {
        await call("OwnerService/PutOwner", values);
        tell(`Owner ${values.name} is there.`);
        await look();
      },
    }),
  },
  users: {
    title: "Users of 1.x",
    load: (signal) => list("UserService/ListUsers", "users", {}, signal),
    text: (it) => [it.name, ...it.buses.map(({ bus }) => bus)],
    key: (it) => it.name,
    empty: "No user: who may use a bus of Backplane 1.x with a name and a password.",
    columns: (look, failed) => [
      { name: "User", cell: ({ name }) => el("b", {}, name) },
      { name: "May", cell: ({ buses }) => (buses.length ? el("ul", { class: "plain" }, buses.map(({ bus, permissions }) =>
        el("li", {}, link(bus, "bus", bus), `: ${permissions.map((it) => state(it, "PERMISSION")).join(", ")}`))) : "–") },
      { name: "", cell: ({ name, ...it }) => el("span", { class: "row" }, permit(name, look),
        remove("Delete", "UserService/DeleteUser", { name, ...expecting(it) }, `Delete ${name}`, "The access of the user ends at once.", look, failed)) },
    ],
    make: (look) => opener("New user", "UserService/PutUser", {
      note: "A user of this name gets another password.", fields: nameAndPassword,
      run: async (values) => {
        await call("UserService/PutUser", values);
        tell(`User ${values.name} is there.`);
        await look();
      },
    }),
  },
  tokens: {
    title: "Tokens",
    load: (signal) => list("AccessService/ListTokens", "tokens", {}, signal),
    text: (it) => [it.handle, it.clientId, it.scope],
    key: (it) => it.handle,
    empty: "No token is handed out.",
    columns: (look, failed) => [
      { name: "Token", cell: ({ handle }) => code(handle) },
      { name: "Kind", cell: ({ kind }) => state(kind, "TOKEN_KIND") },
      { name: "State", cell: (it) => badge(state(it.state, "TOKEN_STATE")) },
      { name: "Whose", cell: ({ clientId }) => clientId || "a visit" },
      { name: "Reaches", cell: ({ scope }) => scope },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
      { name: "", cell: ({ handle }) => remove("End", "AccessService/RevokeToken", { handle }, `End token ${handle}`,
        "It ends with all that come of one another by refreshing.", look, failed) },
    ],
  },
  "sign-ins": {
    title: "Sign-ins",
    load: (signal) => list("AccessService/ListSignIns", "signIns", {}, signal),
    text: (it) => [it.handle, it.owner],
    key: (it) => it.handle,
    empty: "No owner is signed in.",
    columns: (look, failed) => [
      { name: "Owner", cell: ({ owner }) => el("b", {}, owner) },
      { name: "Sign-in", cell: ({ handle }) => code(handle) },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
      { name: "", cell: ({ handle, owner }) => remove("End", "AccessService/EndSignIn", { handle }, `End the sign-in of ${owner}`,
        "In one browser.", look, failed) },
    ],
  },
  requests: {
    title: "Requests",
    load: (signal) => list("AccessService/ListAuthorizationRequests", "requests", {}, signal),
    text: (it) => [it.handle, it.clientId, it.redirectUri, it.scope],
    key: (it) => it.handle,
    empty: "No client waits for an owner to agree.",
    columns: () => [
      { name: "Client", cell: ({ clientId }) => el("b", {}, clientId) },
      { name: "Asks for", cell: ({ scope }) => scope || "all buses of whoever decides" },
      { name: "Answer goes to", cell: ({ redirectUri }) => redirectUri },
      { name: "Request", cell: ({ handle }) => code(handle) },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
    ],
  },
  decisions: {
    title: "Decisions",
    load: (signal) => list("AccessService/ListDecisions", "decisions", {}, signal),
    text: (it) => [it.handle, it.signIn, it.request],
    key: (it) => it.handle,
    empty: "No owner has a page open on which to decide.",
    columns: () => [
      { name: "Decision", cell: ({ handle }) => code(handle) },
      { name: "By the sign-in", cell: ({ signIn }) => code(signIn) },
      { name: "On the request", cell: ({ request }) => code(request) },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
    ],
  },
  codes: {
    title: "Codes",
    load: (signal) => list("AccessService/ListCodes", "codes", {}, signal),
    text: (it) => [it.handle, it.clientId, it.owner, it.grant, ...it.buses],
    key: (it) => it.handle,
    empty: "No code: what a client gets once an owner has agreed, and redeems.",
    columns: () => [
      { name: "Client", cell: ({ clientId }) => el("b", {}, clientId) },
      { name: "State", cell: (it) => badge(state(it.state, "CODE_STATE")) },
      { name: "Agreed", cell: ({ owner }) => owner },
      { name: "Buses", cell: ({ buses }) => busLinks(buses) },
      { name: "Grant", cell: ({ grant }) => (grant ? code(grant) : "–") },
      { name: "Code", cell: ({ handle }) => code(handle) },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
    ],
  },
};

const nameAndPassword = [
  { name: "name", label: "Name", required: true, hint: "Without a colon" },
  { name: "password", label: "Password", required: true, type: "password" },
];

function assign(owner, look) {
  return opener("Give a bus", "OwnerService/AssignBus", {
    title: `Give ${owner} a bus`, note: "The owner becomes the only one of that bus.", fields: [{ name: "bus", label: "Bus", required: true }],
    run: async ({ bus }) => {
      await call("OwnerService/AssignBus", { owner, bus });
      await look();
    },
  });
}

function permit(user, look) {
  return opener("Permit", "UserService/SetPermissions", {
    title: `What ${user} may do`, note: "It takes the place of what the user could do with that bus before.",
    fields: [
      { name: "bus", label: "Bus", required: true, hint: "Of Backplane 1.x, such as v1/example.com" },
      { name: "read", label: "Read the whole bus", type: "checkbox" },
      { name: "post", label: "Post to any channel", type: "checkbox" },
    ],
    run: async ({ bus, read, post }) => {
      const permissions = [read && "PERMISSION_GETALL", post && "PERMISSION_POST"].filter(Boolean);
      await call("UserService/SetPermissions", { user, bus, permissions });
      await look();
    },
  });
}

export async function access(content, context) {
  const { signal, failed, given: [chosen] } = context;
  const name = PARTS[chosen] ? chosen : "clients";
  const part = PARTS[name];
  const found = {};
  const tabs = el("nav", { class: "tabs", "aria-label": "Kinds of access" }, Object.entries(PARTS).map(([each, { title }]) =>
    el("a", { href: `#/access/${each}`, "aria-current": each === name ? "page" : null }, title)));
  await live(content, context, () => part.load(signal), (all, { look, redraw }) => {
    const find = finder(found, `Find in ${part.title.toLowerCase()}`, redraw);
    return [
      heading("Access", { actions: [find.input, part.make?.(look)] }),
      tabs.cloneNode(true),
      card(part.title, table(part.title, part.columns(look, failed), all.filter((it) => find.stays(part.text(it))),
        all.length ? "Nothing is like that." : part.empty, part.key)),
    ];
  });
}
