import test from 'ava'
import type { Command } from 'commander'
import { program } from './program.ts'

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
}

const nameOf = (command: Command): string => (command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`)

test('the help of every command says what it does and has an example of it', (t) => {
  const commands = leaves(program())
  t.true(commands.length >= 15)
  for (const command of commands) {
    const lines: string[] = []
    command.configureOutput({ writeOut: (text) => void lines.push(text) })
    command.outputHelp()
    const help = lines.join('')
    t.not(command.description(), '', nameOf(command))
    t.regex(help, new RegExp(`\\nExamples:\\n(.*\\n)*? +heddle .*\\b${command.name()}\\b`), nameOf(command))
  }
})

test('a number that is none is a mistake on the command line', async (t) => {
  for (const args of [
    ['--timeout', '0', 'version'],
    ['--timeout', '1.5', 'version'],
    ['trace', 'ls', '--limit', 'abc'],
    ['trace', 'ls', '--limit', '-3'],
  ]) {
    const root = program()
    for (const command of [root, ...leaves(root)]) command.exitOverride().configureOutput({ writeErr: () => {} })
    await t.throwsAsync(root.parseAsync(args, { from: 'user' }), { code: 'commander.invalidArgument' }, args.join(' '))
  }
})
