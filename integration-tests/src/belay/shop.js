// A site with accounts: it offers a membership, takes and gives notes, and greets whoever was launched.

const at = (id) => document.getElementById(id);
const told = (text) => at("told").append(Object.assign(document.createElement("li"), { textContent: text }));

const ICON = "data:image/svg+xml;base64," + btoa(
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><rect width="48" height="48" fill="#e0572f"/>' +
  '<path d="M12 18h24l-3 18H15z" fill="#fff"/></svg>');

belay.start((capServer, util, launchInfo) => {
  Object.assign(window, { capServer, util, launchInfo });
  const launch = capServer.restore(`${location.origin}/cap/launch`);
  const membership = { launch, name: "Corner shop", icon: ICON };
  util.exchange.offer(at("chit"), { rc: "belay/generate", generate: () => membership, label: "Corner shop" });
  at("become").onclick = () => {
    util.station.becomeInstance(membership).catch(({ status, message }) => told(`${status} ${message}`));
  };

  const note = (text) => {
    told(`got ${text}`);
    return "thanks";
  };
  util.exchange.offer(at("giver"), {
    rc: "note/text",
    label: "a place for notes",
    generate: (rc) => {
      told(`asked for ${rc}`);
      return { post: capServer.grant(note), name: "Corner shop" };
    },
  });
  util.exchange.accept(at("taker"), {
    rc: "note/text",
    accept: async ({ post, name }, { label }) => told(`${name}, ${label}: ${await post.post("a note")}`),
  });
  told(launchInfo ? `hello ${launchInfo.account}` : "nobody yet");
}, ({ message }) => told(message));
