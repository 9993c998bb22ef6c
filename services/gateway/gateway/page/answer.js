/** Answers of the gateway. */

/** Returns why the gateway refused a request, as it says itself. */
export async function reason(answer) {
  try {
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : `the gateway answered ${answer.status}`;
  } catch {
    return `the gateway answered ${answer.status}`;
  }
}
