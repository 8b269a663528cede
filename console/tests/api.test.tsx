import { render } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { api, usePolled } from "../src/api";

interface Answer { steps: number }

const asked = vi.fn<(path: string) => Promise<Response>>();
let box: HTMLElement;

function Page({ path, decided }: { path: string; decided: number }) {
  const { value, error } = usePolled<Answer>(path, 2000, (each) => each.steps >= decided);
  return <p>{error ? error.message : value ? `${value.steps} steps` : "loading"}</p>;
}

async function shown(path: string, decided: number): Promise<string> {
  render(<Page path={path} decided={decided} />, box);
  await vi.advanceTimersByTimeAsync(10000);
  return box.textContent ?? "";
}

function answers(...steps: (number | null)[]) {
  asked.mockReset();
  for (const each of steps) asked.mockResolvedValueOnce(each === null ? new Response('{"detail":"not yet"}', { status: 409 }) : new Response(JSON.stringify({ steps: each })));
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("fetch", asked);
  box = document.createElement("div");
});

afterEach(() => {
  render(null, box);
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe("what is refused", () => {
  it.each([
    ['"not yet"', "not yet"],
    ['[{"msg": "too long"}, {"msg": "too short"}]', "too long; too short"],
    ['{"reason": "Unique constraint violation", "message": "Look for ID 7."}', "Unique constraint violation. Look for ID 7."],
    ["null", "409 "],
  ])("is so in words, whichever way they come: %s", async (detail, words) => {
    asked.mockReset();
    asked.mockResolvedValueOnce(new Response(`{"detail": ${detail}}`, { status: 409 }));
    await expect(api.start("rollout_llm", false)).rejects.toThrow(words);
  });
});

describe("a command by Airflow", () => {
  const conf = { rollout: "everything", command: "stop", reason: "incident 42" };
  const run = () => new Response('{"dag_run_id": "r1"}');

  it("is refused while its DAG is paused, as it would wait in silence", async () => {
    asked.mockReset();
    asked.mockResolvedValueOnce(new Response('{"is_paused": true}')).mockResolvedValueOnce(run());
    await expect(api.control(conf)).rejects.toThrow("is paused in Airflow");
    expect(asked).toHaveBeenCalledTimes(1);
  });

  it.each([
    ["it is not", '{"is_paused": false}', 200],
    ["nobody knows", '{"detail": "Forbidden"}', 403],
  ])("is given where %s", async (_, body, status) => {
    asked.mockReset();
    asked.mockResolvedValueOnce(new Response(body, { status })).mockResolvedValueOnce(run());
    await expect(api.control(conf)).resolves.toEqual({ dag_run_id: "r1" });
    expect(asked.mock.calls.map(([path]) => path)).toEqual(["../api/v2/dags/rollout_control", "../api/v2/dags/rollout_control/dagRuns"]);
  });
});

describe("what is asked for again", () => {
  it("is so until it is all that there is, whatever is refused meanwhile", async () => {
    answers(null, 0, 1);
    expect(await shown("a", 1)).toBe("1 steps");
    expect(asked).toHaveBeenCalledTimes(3);
  });
  it("is so once more when there is more", async () => {
    answers(1, 1, 2);
    expect(await shown("a", 1)).toBe("1 steps");
    expect(asked).toHaveBeenCalledTimes(1);
    expect(await shown("a", 2)).toBe("2 steps");
    expect(asked).toHaveBeenCalledTimes(3);
  });
  it("is asked for no more often, however often somebody looks away meanwhile", async () => {
    asked.mockReset();
    asked.mockImplementation(async () => new Response(await new Promise<string>((said) => setTimeout(said, 500, '{"steps": 0}'))));
    render(<Page path="a" decided={1} />, box);
    for (let place = 0; place < 5; place += 1) {
      await vi.advanceTimersByTimeAsync(60);
      document.dispatchEvent(new Event("visibilitychange"));
    }
    await vi.advanceTimersByTimeAsync(5000);
    const before = asked.mock.calls.length;
    await vi.advanceTimersByTimeAsync(25000);
    expect(asked.mock.calls.length - before).toBe(10);
  });
  it("is not what was asked for before", async () => {
    answers(1, 5);
    expect(await shown("a", 1)).toBe("1 steps");
    expect(await shown("b", 1)).toBe("5 steps");
  });
});
