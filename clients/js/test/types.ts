// What the declarations promise, as a program that only has to compile.

import { BackboneClient, BackboneClientMessage, BackboneService, CmdService, RequestTimeout } from "..";

export async function everything(): Promise<void> {
  const client: BackboneClient = await new BackboneClient("127.0.0.1", "5555", { version: "0.2" }).connect();
  const reply: string | string[] = await client.send("echo", ["a", Buffer.from("b")], 1000);
  const frames: Buffer[] = await client.request("echo", "a", { signal: AbortSignal.timeout(10) });
  for await (const part of client.sendStream("lines", "3")) {
    frames.push(...part);
  }
  const message = new BackboneClientMessage("echo", reply);
  message.parseReply(message.serialize(), { simply_short_reply: false });
  const service = new BackboneService("echo", async (body: Buffer[], answer) => {
    await answer.partial(body);
    await answer();
  });
  service.on("lost", (reason: string) => reason.length);
  await new CmdService("ls", "ls", "127.0.0.1", 5555, ["-l"], { timeMax: 1000 }).connect();
  // @ts-expect-error a service has a name
  new BackboneService(1, () => {});
  throw new RequestTimeout();
}
