/** Session options of onnxruntime for the graphs of engines in Node. */

/** What decides them. */
export interface GraphOptions {
  readonly executionProviders: readonly unknown[];
  readonly threads: number;
  /** What the intermediate results of a run take at one time. */
  readonly intermediateBytes: number;
  /** Bytes of them from which on some are computed twice instead of kept. */
  readonly recomputesFrom: number;
  /** Whether the environment has an arena that all sessions share. @default false */
  readonly sharesArena?: boolean;
}

/** Options under the names of onnxruntime's JavaScript packages. */
export function graphSessionOptions(graph: GraphOptions): Readonly<Record<string, unknown>> {
  const isLarge = graph.intermediateBytes >= graph.recomputesFrom;
  const { sharesArena = false } = graph;
  return {
    executionProviders: graph.executionProviders,
    intraOpNumThreads: graph.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4, // errors are thrown, so onnxruntime need not print them as well
    // Planned memory patterns nearly double the resident memory of two training graphs and save no measurable time.
    enableMemPattern: false,
    // An arena of its own keeps the memory of large results after a run, and up to twice as much, beside those of others.
    enableCpuMemArena: sharesArena || !isLarge,
    extra: {
      // Spinning threads wait for work at full power, which costs more than waking them.
      session: { intra_op: { allow_spinning: '0' }, ...(sharesArena ? { use_env_allocators: '1' } : {}) },
      // What is computed twice to save memory would be merged again.
      ...(isLarge ? { optimization: { disable_specified_optimizers: 'CommonSubexpressionElimination' } } : {}),
    },
  };
}
