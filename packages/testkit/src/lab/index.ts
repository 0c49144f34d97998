/** Parts of a laboratory: hosts as namespaces, real engines and Heddle processes on them; all undone by one scope. */
export { type Containerd, type ContainerdOptions, type CtrContainer, startContainerd } from './containerd.ts'
export { type Dockerd, type DockerdOptions, startDockerd } from './dockerd.ts'
export { type HeddleOptions, type HeddleProcess, heddleCommand, startHeddle } from './heddle.ts'
export { buildImage, type LabImage, whyNoContainers } from './image.ts'
export { type Lab, LabError, labDirectory, withLab } from './lab.ts'
export { type Program, type ProgramOptions, startProgram } from './processes.ts'
export { LabScope } from './scope.ts'
export { attempt, type RunOptions, type RunResult, run } from './shell.ts'
