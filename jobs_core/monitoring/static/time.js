// What time it is: the jobs' records are kept by the machine's clock.

export const nowAt = () => Date.now();
